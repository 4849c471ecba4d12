// SPDX-License-Identifier: Apache-2.0
// Scalar, readable conversion between stored rows and floats: the oracle of the SIMD products, and what
// embedding rows go through.
#pragma once

#include <cstddef>

#include "hw/number_format.h"

namespace qwen3vl {

// One stored row of `n` elements (a multiple of the block) to floats, bit-exact with GGML's reference
// dequantiser.
void DequantizeRow(hw::Format format, const std::byte* row, size_t n, float* out);

// Floats to a stored row, round to nearest: f32, f16, bf16 and q8_0 (others: Error(kUnsupported)).
void QuantizeRow(hw::Format format, const float* x, size_t n, std::byte* row);

}  // namespace qwen3vl
