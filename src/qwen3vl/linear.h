// SPDX-License-Identifier: Apache-2.0
// y = x W^T + b for every weight format, on the instruction set that hw::SelectedIsa() names.
#pragma once

#include <cstddef>
#include <span>

#include "hw/number_format.h"
#include "hw/parallel.h"
#include "hw/view.h"

namespace qwen3vl {

// A weight matrix [rows = outputs, cols = inputs] as it lies in a file: rows contiguous, no alignment
// promised. Does not own its bytes.
struct Weight {
  const std::byte* data = nullptr;
  hw::Format format = hw::Format::kF32;
  size_t rows = 0;
  size_t cols = 0;
  // The same rows as InterleaveRows arranges them, which products in 8 bits then read; or null.
  const std::byte* interleaved = nullptr;

  size_t row_bytes() const { return hw::RowBytes(format, cols); }
  size_t bytes() const { return rows * row_bytes(); }
  const std::byte* row(size_t r) const { return data + r * row_bytes(); }
};

enum class Precision {
  // Quantised weights times activations quantised to 8 bits in blocks, as the formats' own engines do; f32,
  // f16 and bf16 weights in float32 arithmetic. Q8_0, IQ4_NL and IQ4_XS times many activation rows: in whole
  // numbers of 16 bits on instruction sets where 8 would be no faster (sse4, avx2, avx512), with 1/25 of the
  // error.
  kFast,
  kAuto,   // the same; and f16 and bf16 weights times many activation rows in 16 bits on all of them
  kInt16,  // the same; and f32 weights
  kExact,  // float32 activations times dequantised weights
};

struct LinearOptions {
  const float* bias = nullptr;  // [rows], or null
  bool accumulate = false;      // y += instead of y = (residual sums)
  Precision precision = Precision::kFast;
};

// x [n, cols], y [n, rows]. Up to four rows of x stream the weights, and each gets the result it would get
// alone; more go through a register-blocked product. Packs x into memory of its own (may throw
// std::bad_alloc). x and y must not overlap.
void Linear(const Weight& w, hw::MatrixView<const float> x, hw::MatrixView<float> y,
            const LinearOptions& options, hw::Threads threads);

// One product of a group: y [n, rows] of x [n, cols].
struct LinearPart {
  const Weight* w = nullptr;
  hw::MatrixView<const float> x;
  hw::MatrixView<float> y;
  LinearOptions options;
};

// Several products that do not wait for each other (q, k and v; gate and up; those of experts): threads share
// all the work, and the x of parts that stand next to each other is packed once. No y overlaps an x or
// another y.
void LinearGroup(std::span<const LinearPart> parts, hw::Threads threads);

}  // namespace qwen3vl
