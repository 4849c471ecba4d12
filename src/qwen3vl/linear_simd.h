// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace qwen3vl {

// Dot product of n floats.
float DotFloat(const float* a, const float* b, size_t n) noexcept;

}  // namespace qwen3vl
