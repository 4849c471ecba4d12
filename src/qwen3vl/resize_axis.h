// SPDX-License-Identifier: Apache-2.0
// Antialiased bicubic (a = -0.5) along one axis: which source samples an output sample reads, and how much of
// each. Two references need two arithmetics; both are kept to the last bit.
//   AxisWeights<int32_t>: Pillow's 8-bit resize. Weights in double, then fixed point with 22 fraction bits.
//   AxisWeights<float>: torch's antialiased interpolation of float32 tensors, with its mix of float and
//   double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qwen3vl {

inline constexpr int kResizeFractionBits = 22;

// Output sample i = sum over k < n_taps[i] of source[first[i] + k] * of(i)[k].
template <class Weight>
struct AxisWeights {
  std::vector<size_t> first;    // [out]
  std::vector<size_t> n_taps;   // [out]
  std::vector<Weight> weights;  // [out, max_taps]
  size_t max_taps = 0;

  const Weight* of(size_t i) const { return weights.data() + i * max_taps; }
};

// From `in` to `out` samples, both at least 1.
template <class Weight>
AxisWeights<Weight> MakeAxisWeights(size_t in, size_t out);

template <>
AxisWeights<int32_t> MakeAxisWeights(size_t in, size_t out);
template <>
AxisWeights<float> MakeAxisWeights(size_t in, size_t out);

}  // namespace qwen3vl
