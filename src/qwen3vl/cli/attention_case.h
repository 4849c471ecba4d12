// SPDX-License-Identifier: Apache-2.0
// One attention problem in a safetensors file: q, k, v, and the conditions under which it is solved.
#pragma once

#include <string>
#include <vector>

#include "attention/attention.h"
#include "attention/kv_cache.h"
#include "hw/aligned_buffer.h"

namespace qwen3vl::cli {

// In the file: q [n_heads, q_len, head_dim], k, v [n_kv_heads, kv_len, head_dim] (F32, F16 or BF16), bias
// [n_heads or 1, q_len, kv_len] (F32), mask [q_len, kv_len] (U8 or BOOL, 1: allowed); metadata scale, causal,
// softcap, valid_range "a,b" (b is the first row that does not exist), segments "0,5,9", window.
class AttentionCase {
 public:
  // Throws Error(kNotFound, kCorruptFile) or Failure(kBadFile) naming file, tensor or key.
  explicit AttentionCase(const std::string& path);
  AttentionCase(const AttentionCase&) = delete;
  AttentionCase& operator=(const AttentionCase&) = delete;

  const attention::Inputs& inputs() const { return inputs_; }
  // Moves keys and values into a cache of that format; they are read from there from then on.
  void UseCache(hw::Format format);

 private:
  struct Operand {
    hw::AlignedBuffer<std::byte> bytes;
    hw::Format format = hw::Format::kF32;
  };

  hw::AlignedBuffer<float> RowsByToken(const Operand& operand) const;

  std::string path_;
  Operand q_, k_, v_;
  hw::AlignedBuffer<float> bias_;
  std::vector<uint8_t> allowed_;
  std::vector<size_t> segments_;
  std::unique_ptr<attention::KvCache> cache_;
  attention::Inputs inputs_;
};

}  // namespace qwen3vl::cli
