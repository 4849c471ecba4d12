// SPDX-License-Identifier: Apache-2.0
// Compiled without contraction of a * b + c: the references round both steps.
#include "qwen3vl/resize_axis.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace qwen3vl {
namespace {

// Pillow evaluates in double, with its own grouping of the outer piece.
double Cubic(double x) {
  x = std::fabs(x);
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
  return 0.0;
}

// torch evaluates in float, with another one.
float Cubic(float x) {
  x = std::fabs(x);
  if (x < 1.0f) return (1.5f * x - 2.5f) * x * x + 1.0f;
  if (x < 2.0f) return ((-0.5f * x + 2.5f) * x - 4.0f) * x + 2.0f;
  return 0.0f;
}

// The float or double computation of one axis. Literals are double on purpose: where Real is float the sums
// with them are rounded to float only when they are stored.
template <class Real>
AxisWeights<Real> Compute(size_t in, size_t out) {
  const Real scale = static_cast<Real>(in) / static_cast<Real>(out);
  const Real stretch = std::max(scale, Real{1});
  const Real support = Real{2} * stretch;
  const auto inverse = static_cast<Real>(1.0 / stretch);
  AxisWeights<Real> axis;
  axis.max_taps = static_cast<size_t>(std::ceil(support)) * 2 + 1;
  axis.first.resize(out);
  axis.n_taps.resize(out);
  axis.weights.resize(out * axis.max_taps);
  for (size_t i = 0; i < out; ++i) {
    const auto centre = static_cast<Real>(scale * (static_cast<double>(i) + 0.5));
    const auto lo = static_cast<int64_t>(centre - support + 0.5);
    const auto hi = static_cast<int64_t>(centre + support + 0.5);
    const size_t first = static_cast<size_t>(std::max<int64_t>(lo, 0));
    const size_t n_taps = std::min(static_cast<size_t>(hi), in) - first;
    Real* w = axis.weights.data() + i * axis.max_taps;
    Real sum = 0;
    for (size_t k = 0; k < n_taps; ++k) {
      w[k] = Cubic(static_cast<Real>((static_cast<Real>(k + first) - centre + 0.5) * inverse));
      sum += w[k];
    }
    for (size_t k = 0; k < n_taps; ++k) w[k] /= sum;
    axis.first[i] = first;
    axis.n_taps[i] = n_taps;
  }
  return axis;
}

}  // namespace

template <>
AxisWeights<float> MakeAxisWeights(size_t in, size_t out) {
  return Compute<float>(in, out);
}

template <>
AxisWeights<int32_t> MakeAxisWeights(size_t in, size_t out) {
  AxisWeights<double> exact = Compute<double>(in, out);
  AxisWeights<int32_t> axis{std::move(exact.first), std::move(exact.n_taps), {}, exact.max_taps};
  axis.weights.reserve(exact.weights.size());
  for (double w : exact.weights) {
    const double scaled = w * (1 << kResizeFractionBits);
    axis.weights.push_back(static_cast<int32_t>(w < 0 ? scaled - 0.5 : scaled + 0.5));
  }
  return axis;
}

}  // namespace qwen3vl
