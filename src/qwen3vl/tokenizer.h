// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE as Qwen uses it: added tokens, NFC, the splitting rule, merges by rank. Text to ids and
// back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qwen3vl/weights.h"

namespace qwen3vl {

struct EncodeOptions {
  bool parse_added_tokens = true;  // false: "<|im_end|>" in untrusted text stays ordinary text
};

// Immutable after loading: one may serve many threads.
class Tokenizer {
 public:
  // Throws Error(kNotFound, kCorruptFile) naming file and key.
  static Tokenizer Load(const TokenizerSource& source);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Invalid UTF-8 becomes U+FFFD, one for each maximal bad part; unused ids are left out.
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The raw bytes of one token (may be a part of a character); empty for unused ids.
  std::string_view TokenBytes(int32_t id) const;
  // The byte-mapped piece as files write it ("Ġhello").
  std::string Piece(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // The id of an added token or piece by its literal text, or -1.
  int32_t IdOf(std::string_view token) const;
  size_t size() const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Joins the bytes of streamed tokens and gives out whole UTF-8 characters only; an incomplete tail is held
// back.
class StreamDecoder {
 public:
  std::string Push(std::string_view bytes);
  std::string Finish();  // what was held back, repaired

 private:
  std::string tail_;
};

}  // namespace qwen3vl
