// SPDX-License-Identifier: Apache-2.0
// Keys and values of the tokens seen so far, for all layers, in the storage format and layout that the
// kernels read. Keys are interleaved in panels of 16 tokens, so that a score kernel finds 16 keys' values of
// one dimension side by side and never sums across a vector; values lie in strips of 16 dimensions, each
// strip contiguous over the tokens, so that a weighted sum keeps its accumulators in registers along the
// tokens. In q8_0, two dimensions of a key, and two tokens' values of a dimension, lie side by side, as
// instructions take them that multiply whole numbers and add pairs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/number_format.h"
#include "hw/view.h"

namespace qwen3vl::attention {

inline constexpr size_t kPanelRows = 16;  // tokens per key panel
inline constexpr size_t kStripCols = 16;  // dimensions per value strip

struct KvCacheShape {
  size_t n_layers = 1;
  size_t n_kv_heads = 8;
  size_t head_dim = 128;
  size_t capacity = 4096;                // tokens
  hw::Format format = hw::Format::kF16;  // f32, f16, bf16 or q8_0 (then head_dim is a multiple of 32)

  bool operator==(const KvCacheShape&) const = default;
};

// One layer as kernels see it. Pointers stay valid as long as the cache; `length` moves with Append and
// Truncate. Panels and strips may hold anything in rows from `length` on.
struct KvCacheLayer {
  hw::Format format = hw::Format::kF16;
  size_t n_kv_heads = 0;
  size_t head_dim = 0;
  size_t length = 0;         // rows in use
  size_t padded_length = 0;  // rows there is room for, a multiple of kPanelRows

  std::byte* data = nullptr;  // [n_kv_heads] times keys, values, then the scales of q8_0 for both
  size_t head_bytes = 0;      // from one head to the next
  size_t k_bytes = 0;         // of one head's keys
  size_t v_bytes = 0;         // of one head's values
  size_t scale_bytes = 0;     // of one head's key scales, and of its value scales

  std::byte* head(size_t h) const { return data + h * head_bytes; }
  // [padded_length / 16][head_dim][16] elements; q8_0: int8 [padded_length / 16][head_dim / 2][16][2]
  std::byte* k_panels(size_t h) const { return head(h); }
  // [ceil(head_dim / 16)][padded_length][16] elements, columns from head_dim on are zero; q8_0: int8
  // [head_dim / 16][padded_length / 2][16][2]
  std::byte* v_strips(size_t h) const { return head(h) + k_bytes; }
  // q8_0: F16 bits, [padded_length / 16][head_dim / 32][16]
  uint16_t* k_scales(size_t h) const { return reinterpret_cast<uint16_t*>(head(h) + k_bytes + v_bytes); }
  // q8_0: F16 bits, [head_dim / 32][padded_length]
  uint16_t* v_scales(size_t h) const {
    return reinterpret_cast<uint16_t*>(head(h) + k_bytes + v_bytes + scale_bytes);
  }

  // Rows in their natural order, RowBytes(format, head_dim) bytes each, q8_0 as blocks.
  void GetK(size_t h, size_t pos, std::byte* row) const noexcept;
  void GetV(size_t h, size_t pos, std::byte* row) const noexcept;
  void PutK(size_t h, size_t pos, const std::byte* row) const noexcept;
  void PutV(size_t h, size_t pos, const std::byte* row) const noexcept;
};

// One sequence. Not thread-safe. A token is complete when all layers have appended it; length() counts the
// complete ones: each layer keeps its own count, so a cancelled forward pass is undone by Truncate(length
// before it).
class KvCache {
 public:
  // Throws Error(kOutOfMemory) naming the bytes, Error(kUnsupported) for a format that head_dim does not fit,
  // Error(kInvalidArgument) for a shape with a zero in it.
  explicit KvCache(const KvCacheShape& shape);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  // Bytes that a cache of this shape takes, known before it is made. Overflow-checked; throws as the
  // constructor.
  static size_t BytesFor(const KvCacheShape& shape);

  const KvCacheShape& shape() const;
  size_t bytes() const;
  size_t length() const;  // smallest length of all layers

  // Says that so many tokens are about to be held. From half of the capacity on, memory not touched so far is
  // asked for in huge pages: reading all keys and values for one token meets fewer table walks. For fewer
  // tokens it is not, because then the room of those that never come would take memory too: a huge page holds
  // values of all dimensions of a few thousand tokens. Changes speed only.
  void Expect(size_t tokens) noexcept;

  // Appends rows of k and v [n, n_kv_heads * head_dim] (any row stride) to one layer.
  // Throws Error(kInvalidArgument) when the capacity does not hold them; nothing is changed then.
  void Append(size_t layer, hw::MatrixView<const float> k, hw::MatrixView<const float> v,
              size_t n_threads = 1);
  // Forgets all rows from `length` on, in every layer; in one.
  void Truncate(size_t length);
  void TruncateLayer(size_t layer, size_t length);
  // Makes this cache hold the first `length` rows of `other` (same shape but for the capacity).
  void CopyPrefix(const KvCache& other, size_t length);

  // A self-describing binary image of the complete rows: header, rows in natural order, checksum. Save throws
  // Error(kInvalidArgument) when the stream fails. Load checks the image against the shape and itself and
  // throws Error(kCorruptFile); a bad header leaves the cache as it was, bad content leaves it empty.
  void Save(std::ostream& out) const;
  void Load(std::istream& in);

  const KvCacheLayer& layer(size_t index) const;
  // Row `pos` of head `head` as head_dim floats, for tests and the standard path.
  void ReadK(size_t layer, size_t head, size_t pos, float* out) const;
  void ReadV(size_t layer, size_t head, size_t pos, float* out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen3vl::attention
