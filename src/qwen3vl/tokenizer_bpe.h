// SPDX-License-Identifier: Apache-2.0
// Byte-pair merging: the table of merges and its application to one word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qwen3vl {

class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // lower comes first
    int32_t id = -1;    // what the pair becomes
  };

  // Room for `n` merges.
  explicit MergeTable(size_t n = 0);
  // Ids are at least 0. A pair that is there already takes the later rank, as in the reference.
  void Add(int32_t left, int32_t right, Merge merge);
  // Null when the pair has no merge.
  const Merge* Find(int32_t left, int32_t right) const;

  // Merges the ids of one word in place: always the pair of the lowest rank, the leftmost first among equals,
  // until none is in the table. O(n log n).
  void Apply(std::vector<int32_t>* ids) const;

 private:
  struct Slot {
    int32_t left = -1, right = -1;  // -1: free
    Merge merge;
  };
  size_t SlotOf(int32_t left, int32_t right) const;
  void Grow();
  void ApplyShort(std::vector<int32_t>* ids) const;
  void ApplyLong(std::vector<int32_t>* ids) const;

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace qwen3vl
