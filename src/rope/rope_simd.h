// SPDX-License-Identifier: Apache-2.0
// The rotation of one row, compiled per instruction set.
#pragma once

#include <cstddef>

namespace qwen3vl::rope {

// x [n_heads, 2 * half], in place; cos, sin [half]. Channel i turns with channel i + half:
//   x[i] = x[i] cos - x[i + half] sin    x[i + half] = x[i + half] cos + x[i] sin
void RotateRow(const float* cos, const float* sin, size_t half, size_t n_heads, float* x) noexcept;

}  // namespace qwen3vl::rope
