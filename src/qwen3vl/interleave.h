// SPDX-License-Identifier: Apache-2.0
// A copy of a weight matrix that products in 8 bits stream with fewer instructions: the rows of a group of
// eight take turns, 32 bits at a time, in the order in which a product reads them. A group takes as many
// bytes as its rows do: first, block by block, what is left of a block whose size is no multiple of four
// bytes [blocks][8 rows][rest], then the words [blocks][words][8 rows].
#pragma once

#include <cstddef>

#include "hw/parallel.h"
#include "qwen3vl/linear.h"

namespace qwen3vl {

inline constexpr size_t kInterleavedRows = 8;

constexpr bool HasInterleaved(hw::Format format) {
  return format == hw::Format::kQ4_K || format == hw::Format::kQ5_K || format == hw::Format::kQ6_K;
}

// Whether the products of the instruction set in use read interleaved rows.
bool HasInterleavedProducts();

// Whether products of this matrix can read such a copy: its format has one, and its rows make whole groups.
inline bool CanInterleave(const Weight& w) {
  return HasInterleaved(w.format) && w.rows % kInterleavedRows == 0;
}

// How a group lies in memory.
struct InterleavedGroup {
  size_t rest_bytes;   // of a block of eight rows; all come first
  size_t words_bytes;  // of a block of eight rows
  size_t words_at;     // from the begin of the group
  size_t n_blocks;

  constexpr InterleavedGroup(hw::Format format, size_t cols)
      : rest_bytes(kInterleavedRows * (hw::Info(format).block_bytes % 4)),
        words_bytes(kInterleavedRows * (hw::Info(format).block_bytes / 4 * 4)),
        words_at(cols / hw::Info(format).block_elements * rest_bytes),
        n_blocks(cols / hw::Info(format).block_elements) {}

  constexpr size_t bytes() const { return words_at + n_blocks * words_bytes; }
};

// Fills out [w.bytes()]; CanInterleave(w).
void InterleaveRows(const Weight& w, std::byte* out, hw::Threads threads);

}  // namespace qwen3vl
