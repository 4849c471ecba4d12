// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer_bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

namespace qwen3vl {
namespace {

// Up to here rescanning the whole word is faster than keeping a heap (ordinary words have 2 to 12 bytes).
constexpr size_t kShortWord = 24;

// Finalizer of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// A symbol of a long word in a doubly linked list; -1 ends it on both sides.
struct Symbol {
  int32_t id;  // -1: swallowed by its left neighbour
  int32_t prev, next;
};

// A pair that may be merged; stale once one of its halves has changed, which its rank gives away.
struct Candidate {
  int32_t rank;
  int32_t left;  // index of the symbol
  bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
};

}  // namespace

MergeTable::MergeTable(size_t n) : slots_(std::bit_ceil(2 * n + 2)) {}

size_t MergeTable::SlotOf(int32_t left, int32_t right) const {
  const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  size_t at = Mix(key) & (slots_.size() - 1);
  while (slots_[at].left >= 0 && (slots_[at].left != left || slots_[at].right != right))
    at = (at + 1) & (slots_.size() - 1);
  return at;
}

void MergeTable::Grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.left >= 0) slots_[SlotOf(slot.left, slot.right)] = slot;
}

void MergeTable::Add(int32_t left, int32_t right, Merge merge) {
  if (2 * (size_ + 1) > slots_.size()) Grow();
  Slot& slot = slots_[SlotOf(left, right)];
  if (slot.left < 0) ++size_;
  slot = {left, right, merge};
}

const MergeTable::Merge* MergeTable::Find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[SlotOf(left, right)];
  return slot.left < 0 ? nullptr : &slot.merge;
}

void MergeTable::Apply(std::vector<int32_t>* ids) const {
  if (ids->size() <= kShortWord) {
    ApplyShort(ids);
  } else {
    ApplyLong(ids);
  }
}

void MergeTable::ApplyShort(std::vector<int32_t>* ids) const {
  while (ids->size() > 1) {
    const Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ids->size(); ++i) {
      const Merge* merge = Find((*ids)[i], (*ids)[i + 1]);
      if (merge == nullptr || (best != nullptr && merge->rank >= best->rank)) continue;
      best = merge;
      at = i;
    }
    if (best == nullptr) return;
    (*ids)[at] = best->id;
    ids->erase(ids->begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

void MergeTable::ApplyLong(std::vector<int32_t>* ids) const {
  const auto n = static_cast<int32_t>(ids->size());
  std::vector<Symbol> symbols(ids->size());
  for (int32_t i = 0; i < n; ++i)
    symbols[static_cast<size_t>(i)] = {(*ids)[static_cast<size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1};
  const auto at = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto pair_at = [&](int32_t i) -> const Merge* {
    return i < 0 || at(i).id < 0 || at(i).next < 0 ? nullptr : Find(at(i).id, at(at(i).next).id);
  };
  const auto push = [&](int32_t i) {
    if (const Merge* merge = pair_at(i)) queue.push({merge->rank, i});
  };
  for (int32_t i = 0; i < n; ++i) push(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const Merge* merge = pair_at(top.left);
    if (merge == nullptr || merge->rank != top.rank) continue;
    Symbol& left = at(top.left);
    Symbol& right = at(left.next);
    left.id = merge->id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) at(left.next).prev = top.left;
    push(left.prev);
    push(top.left);
  }

  ids->clear();
  for (int32_t i = 0; i >= 0; i = at(i).next) ids->push_back(at(i).id);
}

}  // namespace qwen3vl
