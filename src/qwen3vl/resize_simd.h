// SPDX-License-Identifier: Apache-2.0
// The inner loop of resizing, per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qwen3vl {

// dst[j] = sum over k < n_taps of src[k * stride + j] * weights[k], for j < n. src and dst do not overlap.
// All instruction sets give the same bits.

// Weights with kResizeFractionBits fraction bits; the sum is rounded and clamped to 0..255.
void WeightedSum(const uint8_t* src, size_t stride, const int32_t* weights, size_t n_taps, size_t n,
                 uint8_t* dst) noexcept;
// Each product is rounded to float before it is added, in the order of k.
void WeightedSum(const float* src, size_t stride, const float* weights, size_t n_taps, size_t n,
                 float* dst) noexcept;

}  // namespace qwen3vl
