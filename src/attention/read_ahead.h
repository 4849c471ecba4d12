// SPDX-License-Identifier: Apache-2.0
// What a few rows ask memory for while they read a cached head tile by tile: key panels, then value strips,
// then the keys of the next tile. Few rows are done with a piece sooner than memory delivers the next one,
// and pieces are too short for the processor to see where reading goes on.
#pragma once

#include <algorithm>
#include <cstddef>

#include "hw/prefetch.h"

namespace qwen3vl::attention {

// For piece i (a panel or a strip) of a tile: piece i + distance, or, near the end, a part of what is read
// after them. Without pieces: what lies kStreamAheadBytes further on.
struct ReadAhead {
  size_t distance = 0;
  size_t n_pieces = 0;              // counted from the first address of the tile
  const std::byte* next = nullptr;  // what is read after them, or null: nothing is
  size_t part_bytes = 0;            // of it that goes with one piece,
  size_t parts = 1;                 // as many of which lie one after the other,
  size_t next_stride = 0;           // bytes from these to the next ones

  // The address that goes with `at` in piece i; pieces are `stride` bytes apart.
  const std::byte* Address(const std::byte* at, size_t i, size_t stride) const {
    if (n_pieces == 0) return at + hw::kStreamAheadBytes;
    if (i + distance < n_pieces) return at + distance * stride;
    if (!next) return at;
    const size_t part = i + distance - n_pieces;
    return next + part / parts * next_stride + part % parts * part_bytes;
  }
};

// What a block of rows reads of a tile, in bytes.
struct TilePieces {
  size_t panel_bytes = 1;  // of 16 keys
  size_t n_panels = 0;     // up to the last one that is seen, from the tile's start
  size_t strip_bytes = 1;  // what is seen of 16 dimensions of the values
  size_t n_strips = 0;
  size_t at_once = 1;  // panels or strips that a product reads side by side

  // Strips of short tiles are read on soon enough to ask for their own next part.
  bool HasShortStrips() const { return strip_bytes < panel_bytes; }

  // So many strips lie between what is asked for and what is read: whole products of them.
  size_t StripsAhead() const {
    const size_t product = at_once * strip_bytes;
    return (hw::kStreamAheadBytes + product - 1) / product * at_once;
  }
};

// For the panels of a tile; values: its first strip, strips are `stride` bytes apart.
inline ReadAhead AheadOfKeys(const TilePieces& tile, const std::byte* values, size_t stride) {
  if (tile.HasShortStrips()) return {};
  const size_t parts = tile.strip_bytes / tile.panel_bytes;
  return {.distance = tile.StripsAhead() * parts,
          .n_pieces = tile.n_panels,
          .next = values,
          .part_bytes = tile.panel_bytes,
          .parts = parts,
          .next_stride = stride};
}

// For the strips of a tile; next_keys: those of the next one, which lie in one piece, or null.
inline ReadAhead AheadOfValues(const TilePieces& tile, const std::byte* next_keys) {
  if (tile.HasShortStrips()) return {};
  return {.distance = tile.StripsAhead(),
          .n_pieces = tile.n_strips,
          .next = next_keys,
          .part_bytes = tile.strip_bytes,
          .next_stride = tile.strip_bytes};
}

}  // namespace qwen3vl::attention
