// SPDX-License-Identifier: Apache-2.0
// Overflow-checked size arithmetic. Every size that comes from a file or an option is computed here and
// nowhere else.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {

// a * b; throws Error(kInvalidArgument) naming `what` when it does not fit size_t.
inline size_t CheckedMul(size_t a, size_t b, const char* what) {
  size_t out;
  if (__builtin_mul_overflow(a, b, &out))
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": size overflows (" + std::to_string(a) +
                                                 " * " + std::to_string(b) + ")");
  return out;
}

// a + b, likewise.
inline size_t CheckedAdd(size_t a, size_t b, const char* what) {
  size_t out;
  if (__builtin_add_overflow(a, b, &out))
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + ": size overflows (" + std::to_string(a) +
                                                 " + " + std::to_string(b) + ")");
  return out;
}

// Product of all factors (1 for an empty list), likewise.
template <class Range>
size_t CheckedProduct(const Range& factors, const char* what) {
  size_t out = 1;
  for (auto f : factors) out = CheckedMul(out, static_cast<size_t>(f), what);
  return out;
}
inline size_t CheckedProduct(std::initializer_list<size_t> factors, const char* what) {
  return CheckedProduct<std::initializer_list<size_t>>(factors, what);
}

}  // namespace qwen3vl::hw
