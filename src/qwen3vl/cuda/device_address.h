// SPDX-License-Identifier: Apache-2.0
// Sizes and addresses as the parameters of a launch have them.
#pragma once

#include <cstddef>

#include "hw/cuda_driver.h"

namespace qwen3vl {

template <class T>
T* At(hw::CudaAddress address) {
  return reinterpret_cast<T*>(address);
}

inline unsigned Count(size_t n) { return static_cast<unsigned>(n); }
// Blocks of a grid, `of` things each.
inline unsigned Groups(size_t n, size_t of) { return static_cast<unsigned>((n + of - 1) / of); }

}  // namespace qwen3vl
