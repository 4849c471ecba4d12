// SPDX-License-Identifier: Apache-2.0
// Which kv rows a q row sees. Causal rule, sliding window, kv range, per-sequence lengths and packed segments
// all hide a prefix and a suffix, so together they leave one range; only `allowed` can punch holes in it.
// Shared by every path, so that they cannot disagree.
#pragma once

#include <algorithm>
#include <cstddef>

#include "attention/attention.h"

namespace qwen3vl::attention {

// Rows begin .. end - 1; empty when begin == end (begin never exceeds end).
struct KvRange {
  size_t begin = 0;
  size_t end = 0;

  constexpr bool empty() const { return begin >= end; }
  constexpr size_t size() const { return empty() ? 0 : end - begin; }
};

constexpr KvRange Intersect(KvRange a, KvRange b) {
  const size_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

// Smallest range that holds both.
constexpr KvRange Union(KvRange a, KvRange b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// The kv rows that exist for sequence `batch`, whatever the q row.
constexpr KvRange ExistingRange(const Shape& shape, const Mask& mask, size_t batch) {
  KvRange range = Intersect({0, shape.kv_len}, {mask.kv_begin, mask.kv_end});
  if (!mask.kv_lengths.empty()) range = Intersect(range, {0, mask.kv_lengths[batch]});
  return range;
}

// What q row `row` of sequence `batch` sees; holes in it are `mask.allowed`'s business.
constexpr KvRange VisibleRange(const Shape& shape, const Mask& mask, size_t batch, size_t row) {
  KvRange range = ExistingRange(shape, mask, batch);
  if (mask.causal || mask.window > 0) {
    // One past the row's own position, which is kv_len - q_len + row: bottom-right aligned, 0 if it lies
    // before the first kv row.
    const size_t up_to_self =
        shape.kv_len + row + 1 > shape.q_len ? shape.kv_len + row + 1 - shape.q_len : size_t{0};
    const size_t first = mask.window > 0 && up_to_self > mask.window ? up_to_self - mask.window : size_t{0};
    range = Intersect(range, {first, up_to_self});
  }
  if (!mask.segments.empty()) {
    const auto next = std::upper_bound(mask.segments.begin(), mask.segments.end(), row);
    range = Intersect(range, {*(next - 1), *next});
  }
  return range;
}

// Row of the additive bias for head `head` and q row `row`, kv_len values, or null.
constexpr const float* BiasRow(const Shape& shape, const Mask& mask, size_t head, size_t row) {
  if (!mask.bias) return nullptr;
  return mask.bias + ((mask.bias_heads == 1 ? 0 : head) * shape.q_len + row) * shape.kv_len;
}

// Row of the boolean mask for q row `row`, kv_len bytes, or null.
constexpr const uint8_t* AllowedRow(const Shape& shape, const Mask& mask, size_t row) {
  return mask.allowed ? mask.allowed + row * shape.kv_len : nullptr;
}

}  // namespace qwen3vl::attention
