// SPDX-License-Identifier: Apache-2.0
// A copy of a weight matrix that products in 8 bits stream with fewer instructions: the rows of a group of
// eight take turns, 32 bits at a time, in the order in which a product reads them. A group takes as many
// bytes as its rows do: in every step of 256 columns first the scales of blocks whose size is no multiple of
// four bytes [blocks][8 rows][2 bytes], then the words [blocks][words][8 rows].
#pragma once

#include <cstddef>

#include "hw/parallel.h"
#include "qwen3vl/linear.h"

namespace qwen3vl {

inline constexpr size_t kInterleavedRows = 8;

inline constexpr size_t kInterleavedCols = 256;  // that a product takes at once

constexpr bool HasInterleaved(hw::Format format) {
  using enum hw::Format;
  return format == kQ4_0 || format == kQ4_K || format == kQ5_K || format == kQ6_K;
}

// Whether the products of the instruction set in use read interleaved rows.
bool HasInterleavedProducts();

// Whether products of this matrix can read such a copy: its format has one, and it makes whole groups and
// steps.
inline bool CanInterleave(const Weight& w) {
  return HasInterleaved(w.format) && w.rows % kInterleavedRows == 0 && w.cols % kInterleavedCols == 0;
}

// A step of a group in memory.
struct InterleavedStep {
  size_t scale_bytes;  // where scales come first
  size_t words_bytes;

  constexpr explicit InterleavedStep(hw::Format format)
      : scale_bytes(BlocksOf(format) * (hw::Info(format).block_bytes % 4)),
        words_bytes(BlocksOf(format) * (hw::Info(format).block_bytes / 4 * 4)) {}

  constexpr size_t bytes() const { return scale_bytes + words_bytes; }

 private:
  static constexpr size_t BlocksOf(hw::Format format) {
    return kInterleavedRows * kInterleavedCols / hw::Info(format).block_elements;
  }
};

// Fills out [w.bytes()]; CanInterleave(w).
void InterleaveRows(const Weight& w, std::byte* out, hw::Threads threads);

}  // namespace qwen3vl
