// SPDX-License-Identifier: Apache-2.0
// Keys and values of the tokens seen so far, for all layers, in the storage format and layout that the
// kernels read.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/number_format.h"
#include "hw/view.h"

namespace qwen3vl::attention {

struct KvCacheShape {
  size_t n_layers = 1;
  size_t n_kv_heads = 8;
  size_t head_dim = 128;
  size_t capacity = 4096;                // tokens
  hw::Format format = hw::Format::kF16;  // f32, f16, bf16 or q8_0
};

class KvCacheLayer;

// One sequence. Not thread-safe. A token is complete when all layers have appended it; length() counts the
// complete ones: each layer keeps its own count, so a cancelled forward pass is undone by Truncate(length
// before it).
class KvCache {
 public:
  explicit KvCache(const KvCacheShape& shape);  // throws Error(kOutOfMemory) naming the bytes
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  // Bytes that a cache of this shape takes, known before it is made. Overflow-checked.
  static size_t BytesFor(const KvCacheShape& shape);

  const KvCacheShape& shape() const;
  size_t bytes() const;
  size_t length() const;  // smallest length of all layers

  // Appends rows of k and v [n, n_kv_heads * head_dim] (any row stride) to one layer.
  // Throws Error(kInvalidArgument) when the capacity does not hold them; nothing is changed then.
  void Append(size_t layer, hw::MatrixView<const float> k, hw::MatrixView<const float> v);
  // Forgets all rows from `length` on, in every layer.
  void Truncate(size_t length);
  // Makes this cache hold the first `length` rows of `other` (same shape but for the capacity).
  void CopyPrefix(const KvCache& other, size_t length);

  // A self-describing binary image of the rows in use; Load checks it against the shape and throws
  // Error(kCorruptFile).
  void Save(std::ostream& out) const;
  void Load(std::istream& in);

  const KvCacheLayer& layer(size_t index) const;
  // Row `pos` of head `head` as floats, for tests and the standard path.
  void ReadK(size_t layer, size_t head, size_t pos, float* out) const;
  void ReadV(size_t layer, size_t head, size_t pos, float* out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qwen3vl::attention
