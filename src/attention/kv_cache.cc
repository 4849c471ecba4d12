// SPDX-License-Identifier: Apache-2.0
#include "attention/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <string>

#include "attention/kv_cache_impl.h"
#include "attention/row_codec.h"
#include "hw/checked.h"
#include "hw/huge_pages.h"
#include "hw/parallel.h"

namespace qwen3vl::attention {
namespace {

constexpr size_t kAlignment = hw::AlignedBuffer<std::byte>::kAlignment;

size_t RoundUp(size_t n, size_t multiple, const char* what) {
  return hw::CheckedAdd(n, multiple - 1, what) / multiple * multiple;
}

size_t ElementBytes(hw::Format format) { return format == hw::Format::kQ8_0 ? 1 : hw::RowBytes(format, 1); }

// Copies n elements that lie `from_step` and `to_step` elements apart.
template <class T>
void CopyStrided(const std::byte* from, size_t from_step, std::byte* to, size_t to_step, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i)
    std::memcpy(to + i * to_step * sizeof(T), from + i * from_step * sizeof(T), sizeof(T));
}

void CopyElements(size_t element_bytes, const std::byte* from, size_t from_step, std::byte* to,
                  size_t to_step, size_t n) noexcept {
  if (element_bytes == 1) return CopyStrided<uint8_t>(from, from_step, to, to_step, n);
  if (element_bytes == 2) return CopyStrided<uint16_t>(from, from_step, to, to_step, n);
  CopyStrided<uint32_t>(from, from_step, to, to_step, n);
}

// Where the elements of dimension d of row `pos` are inside panels and strips.
size_t KIndex(const KvCacheLayer& l, size_t pos, size_t d) {
  if (l.format == hw::Format::kQ8_0)
    return (pos / kPanelRows * l.head_dim + d / 2 * 2) * kPanelRows + pos % kPanelRows * 2 + d % 2;
  return (pos / kPanelRows * l.head_dim + d) * kPanelRows + pos % kPanelRows;
}
size_t VIndex(const KvCacheLayer& l, size_t pos, size_t d) {
  if (l.format == hw::Format::kQ8_0)
    return (d / kStripCols * l.padded_length + pos / 2 * 2) * kStripCols + d % kStripCols * 2 + pos % 2;
  return (d / kStripCols * l.padded_length + pos) * kStripCols + d % kStripCols;
}
size_t KScaleIndex(const KvCacheLayer& l, size_t pos, size_t block) {
  return (pos / kPanelRows * (l.head_dim / 32) + block) * kPanelRows + pos % kPanelRows;
}

// Calls visit(first dimension, count, offset of the elements in the natural row) for stretches that end at
// multiples of 16 and, in q8_0, skip the two scale bytes of each block.
template <class Visit>
void ForEachStretch(const KvCacheLayer& l, const Visit& visit) {
  const bool blocks = l.format == hw::Format::kQ8_0;
  for (size_t d = 0; d < l.head_dim; d += kStripCols) {
    const size_t offset =
        blocks ? d / 32 * sizeof(hw::BlockQ8_0) + sizeof(uint16_t) + d % 32 : d * ElementBytes(l.format);
    visit(d, std::min(kStripCols, l.head_dim - d), offset);
  }
}

// n elements of a row: `step` apart from element `at` of the panels or strips on, `row_step` apart from byte
// `offset` of the natural row on.
struct Run {
  size_t at, step;
  size_t offset, row_step;
  size_t n;
};

template <class Visit>
void ForEachKeyRun(const KvCacheLayer& l, size_t pos, const Visit& visit) {
  const size_t pair = l.format == hw::Format::kQ8_0 ? 2 : 1;  // dimensions side by side
  ForEachStretch(l, [&](size_t d, size_t n, size_t offset) {
    for (size_t i = 0; i < pair; ++i)
      visit(Run{KIndex(l, pos, d + i), pair * kPanelRows, offset + i, pair, n / pair});
  });
}

template <class Visit>
void ForEachValueRun(const KvCacheLayer& l, size_t pos, const Visit& visit) {
  const size_t pair = l.format == hw::Format::kQ8_0 ? 2 : 1;  // tokens side by side
  ForEachStretch(l, [&](size_t d, size_t n, size_t offset) {
    visit(Run{VIndex(l, pos, d), pair, offset, 1, n});
  });
}

std::string Describe(const KvCacheShape& s) {
  return std::to_string(s.n_layers) + " layers x " + std::to_string(s.n_kv_heads) + " heads x " +
         std::to_string(s.head_dim) + ", " + std::to_string(s.capacity) + " tokens, " +
         std::string(hw::Name(s.format));
}

void CheckShape(const KvCacheShape& s) {
  if (s.n_layers == 0 || s.n_kv_heads == 0 || s.head_dim == 0 || s.capacity == 0)
    throw Error(ErrorCode::kInvalidArgument,
                "KV cache: empty shape (" + Describe(s) + "), want at least 1 of each");
  if (!IsRowFormat(s.format))
    throw Error(ErrorCode::kUnsupported,
                "KV cache: format " + std::string(hw::Name(s.format)) + ", want f32, f16, bf16 or q8_0");
  if (s.format == hw::Format::kQ8_0 && s.head_dim % 32 != 0)
    throw Error(ErrorCode::kUnsupported,
                "KV cache: q8_0 needs a head_dim that is a multiple of 32, this model has " +
                    std::to_string(s.head_dim) + "; use --kv-type f16");
}

// The layer's layout, without memory. Throws for shapes that cannot be.
KvCacheLayer LayoutOf(const KvCacheShape& s) {
  constexpr const char* kWhat = "KV cache";
  CheckShape(s);
  KvCacheLayer l;
  l.format = s.format;
  l.n_kv_heads = s.n_kv_heads;
  l.head_dim = s.head_dim;
  l.padded_length = RoundUp(s.capacity, kPanelRows, kWhat);
  const size_t element = ElementBytes(s.format);
  l.k_bytes = RoundUp(hw::CheckedProduct({l.padded_length, s.head_dim, element}, kWhat), kAlignment, kWhat);
  l.v_bytes =
      RoundUp(hw::CheckedProduct({RoundUp(s.head_dim, kStripCols, kWhat), l.padded_length, element}, kWhat),
              kAlignment, kWhat);
  if (s.format == hw::Format::kQ8_0)
    l.scale_bytes = RoundUp(hw::CheckedProduct({l.padded_length, s.head_dim / 32, sizeof(uint16_t)}, kWhat),
                            kAlignment, kWhat);
  l.head_bytes = hw::CheckedAdd(hw::CheckedAdd(l.k_bytes, l.v_bytes, kWhat),
                                hw::CheckedMul(2, l.scale_bytes, kWhat), kWhat);
  return l;
}

}  // namespace

void KvCacheLayer::GetK(size_t h, size_t pos, std::byte* row) const noexcept {
  const size_t element = ElementBytes(format);
  ForEachKeyRun(*this, pos, [&](const Run& r) {
    CopyElements(element, k_panels(h) + r.at * element, r.step, row + r.offset, r.row_step, r.n);
  });
  if (format != hw::Format::kQ8_0) return;
  for (size_t b = 0; b < head_dim / 32; ++b)
    std::memcpy(row + b * sizeof(hw::BlockQ8_0), k_scales(h) + KScaleIndex(*this, pos, b), sizeof(uint16_t));
}

void KvCacheLayer::PutK(size_t h, size_t pos, const std::byte* row) const noexcept {
  const size_t element = ElementBytes(format);
  ForEachKeyRun(*this, pos, [&](const Run& r) {
    CopyElements(element, row + r.offset, r.row_step, k_panels(h) + r.at * element, r.step, r.n);
  });
  if (format != hw::Format::kQ8_0) return;
  for (size_t b = 0; b < head_dim / 32; ++b)
    std::memcpy(k_scales(h) + KScaleIndex(*this, pos, b), row + b * sizeof(hw::BlockQ8_0), sizeof(uint16_t));
}

void KvCacheLayer::GetV(size_t h, size_t pos, std::byte* row) const noexcept {
  const size_t element = ElementBytes(format);
  ForEachValueRun(*this, pos, [&](const Run& r) {
    CopyElements(element, v_strips(h) + r.at * element, r.step, row + r.offset, r.row_step, r.n);
  });
  if (format != hw::Format::kQ8_0) return;
  for (size_t b = 0; b < head_dim / 32; ++b)
    std::memcpy(row + b * sizeof(hw::BlockQ8_0), v_scales(h) + b * padded_length + pos, sizeof(uint16_t));
}

void KvCacheLayer::PutV(size_t h, size_t pos, const std::byte* row) const noexcept {
  const size_t element = ElementBytes(format);
  ForEachValueRun(*this, pos, [&](const Run& r) {
    std::byte* to = v_strips(h) + r.at * element;
    CopyElements(element, row + r.offset, r.row_step, to, r.step, r.n);
    if (r.n < kStripCols) std::memset(to + r.n * element, 0, (kStripCols - r.n) * element);
  });
  if (format != hw::Format::kQ8_0) return;
  for (size_t b = 0; b < head_dim / 32; ++b)
    std::memcpy(v_scales(h) + b * padded_length + pos, row + b * sizeof(hw::BlockQ8_0), sizeof(uint16_t));
}

size_t KvCache::BytesFor(const KvCacheShape& shape) {
  return hw::CheckedProduct({shape.n_layers, shape.n_kv_heads, LayoutOf(shape).head_bytes}, "KV cache");
}

KvCache::KvCache(const KvCacheShape& shape) : impl_(std::make_unique<Impl>()) {
  const size_t bytes = BytesFor(shape);
  KvCacheLayer layer = LayoutOf(shape);
  impl_->shape = shape;
  try {
    impl_->memory = hw::AlignedBuffer<std::byte>(bytes);
    for (size_t i = 0; i < shape.n_layers; ++i) {
      layer.data = impl_->memory.data() + i * shape.n_kv_heads * layer.head_bytes;
      impl_->layers.push_back(layer);
    }
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory, "KV cache: no memory for " + std::to_string(bytes) + " bytes (" +
                                             Describe(shape) + "); use a smaller --ctx or --kv-type q8_0");
  }
}

KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

const KvCacheShape& KvCache::shape() const { return impl_->shape; }
size_t KvCache::bytes() const { return impl_->memory.bytes(); }

size_t KvCache::length() const {
  return std::ranges::min_element(impl_->layers, {}, &KvCacheLayer::length)->length;
}

const KvCacheLayer& KvCache::layer(size_t index) const {
  assert(index < impl_->layers.size());
  return impl_->layers[index];
}

void KvCache::Expect(size_t tokens) noexcept {
  const size_t capacity = impl_->shape.capacity;
  if (tokens >= capacity - capacity / 2) hw::AdviseHugePages(impl_->memory.data(), impl_->memory.bytes());
}

void KvCache::Append(size_t index, hw::MatrixView<const float> k, hw::MatrixView<const float> v,
                     size_t n_threads) {
  const KvCacheShape& s = impl_->shape;
  if (index >= s.n_layers)
    throw Error(ErrorCode::kInvalidArgument, "KV cache: layer " + std::to_string(index) +
                                                 ", want one below " + std::to_string(s.n_layers));
  const size_t width = s.n_kv_heads * s.head_dim;
  if (k.cols != width || v.cols != width || k.rows != v.rows)
    throw Error(ErrorCode::kInvalidArgument, "KV cache: keys [" + std::to_string(k.rows) + ", " +
                                                 std::to_string(k.cols) + "] and values [" +
                                                 std::to_string(v.rows) + ", " + std::to_string(v.cols) +
                                                 "], want [n, " + std::to_string(width) + "] both");
  KvCacheLayer& layer = impl_->layers[index];
  if (k.rows > s.capacity - layer.length)
    throw Error(ErrorCode::kInvalidArgument, "KV cache: " + std::to_string(layer.length) + " + " +
                                                 std::to_string(k.rows) + " tokens, room for " +
                                                 std::to_string(s.capacity) + "; use a larger --ctx");
  const size_t row_bytes = hw::RowBytes(s.format, s.head_dim);
  std::vector<std::byte> encoded(s.n_kv_heads * row_bytes);
  hw::ParallelFor({k.rows > 1 ? n_threads : 1}, s.n_kv_heads, [&](size_t h, size_t) noexcept {
    std::byte* row = encoded.data() + h * row_bytes;
    for (size_t i = 0; i < k.rows; ++i) {
      EncodeRow(s.format, k.row(i) + h * s.head_dim, s.head_dim, row);
      layer.PutK(h, layer.length + i, row);
      EncodeRow(s.format, v.row(i) + h * s.head_dim, s.head_dim, row);
      layer.PutV(h, layer.length + i, row);
    }
  });
  layer.length += k.rows;
}

void KvCache::Truncate(size_t length) {
  for (size_t i = 0; i < impl_->layers.size(); ++i) TruncateLayer(i, length);
}

void KvCache::TruncateLayer(size_t index, size_t length) {
  assert(index < impl_->layers.size());
  KvCacheLayer& layer = impl_->layers[index];
  layer.length = std::min(layer.length, length);
}

void KvCache::CopyPrefix(const KvCache& other, size_t length) {
  KvCacheShape wanted = impl_->shape;
  wanted.capacity = other.shape().capacity;
  if (wanted != other.shape())
    throw Error(ErrorCode::kInvalidArgument, "KV cache: cannot copy from a cache of " +
                                                 Describe(other.shape()) + " into one of " +
                                                 Describe(impl_->shape));
  if (length > other.length() || length > impl_->shape.capacity)
    throw Error(ErrorCode::kInvalidArgument, "KV cache: copy of " + std::to_string(length) +
                                                 " tokens from a cache that holds " +
                                                 std::to_string(other.length()) + " into one with room for " +
                                                 std::to_string(impl_->shape.capacity));
  if (&other == this) return Truncate(length);
  std::vector<std::byte> row(hw::RowBytes(wanted.format, wanted.head_dim));
  for (size_t l = 0; l < wanted.n_layers; ++l) {
    for (size_t h = 0; h < wanted.n_kv_heads; ++h)
      for (size_t pos = 0; pos < length; ++pos) {
        other.layer(l).GetK(h, pos, row.data());
        impl_->layers[l].PutK(h, pos, row.data());
        other.layer(l).GetV(h, pos, row.data());
        impl_->layers[l].PutV(h, pos, row.data());
      }
    impl_->layers[l].length = length;
  }
}

void KvCache::ReadK(size_t index, size_t head, size_t pos, float* out) const {
  const KvCacheLayer& l = layer(index);
  std::vector<std::byte> row(hw::RowBytes(l.format, l.head_dim));
  l.GetK(head, pos, row.data());
  DecodeRow(l.format, row.data(), l.head_dim, out);
}

void KvCache::ReadV(size_t index, size_t head, size_t pos, float* out) const {
  const KvCacheLayer& l = layer(index);
  std::vector<std::byte> row(hw::RowBytes(l.format, l.head_dim));
  l.GetV(head, pos, row.data());
  DecodeRow(l.format, row.data(), l.head_dim, out);
}

}  // namespace qwen3vl::attention
