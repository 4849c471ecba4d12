// SPDX-License-Identifier: Apache-2.0
// One row of a tensor between floats and its storage format (f32, f16, bf16, q8_0), scalar and exact: what
// the KV cache stores by, and what the standard path reads by.
#pragma once

#include <cstddef>

#include "attention/attention.h"
#include "hw/number_format.h"

namespace qwen3vl::attention {

// True for the formats that q, k, v and the cache may have.
constexpr bool IsRowFormat(hw::Format f) {
  return f == hw::Format::kF32 || f == hw::Format::kF16 || f == hw::Format::kBF16 || f == hw::Format::kQ8_0;
}

// n floats -> RowBytes(format, n) bytes at `row` (any alignment). For kQ8_0 n is a multiple of 32; the scale
// of a block is its largest magnitude / 127, as GGML has it.
void EncodeRow(hw::Format format, const float* values, size_t n, void* row) noexcept;

// The way back: n floats from the bytes at `row` (any alignment).
void DecodeRow(hw::Format format, const void* row, size_t n, float* values) noexcept;

// Address of row (batch, row, head) of a tensor.
inline const std::byte* RowAddress(const TensorRef& t, size_t batch, size_t row, size_t head) {
  const size_t element = batch * t.batch_stride + row * t.row_stride + head * t.head_stride;
  return static_cast<const std::byte*>(t.data) + hw::RowBytes(t.format, element);
}

}  // namespace qwen3vl::attention
