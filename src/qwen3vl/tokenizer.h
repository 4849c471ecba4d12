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

// Which added tokens a text may contain. "Special" ones (<|im_end|>, <|image_pad|>) steer the model, ordinary
// ones (<think>, <tool_call>) mark up what it says.
enum class AddedTokenUse {
  kNone,      // all stay ordinary text: for text from users, tools and files
  kOrdinary,  // special ones stay text: for the model's own earlier words
  kAll,       // for text of the program itself, and for the reference's behaviour
};

struct TextSegment {
  std::string text;
  AddedTokenUse added_tokens = AddedTokenUse::kAll;
  bool operator==(const TextSegment&) const = default;
};

struct EncodeOptions {
  bool parse_added_tokens = true;  // false: "<|im_end|>" in untrusted text stays ordinary text
};

// Immutable after loading: one may serve many threads.
class Tokenizer {
 public:
  // Throws Error(kNotFound, kCorruptFile) naming file and key, Error(kUnsupported) for another kind of
  // tokenizer.
  static Tokenizer Load(const TokenizerSource& source);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Bad UTF-8 is read as U+FFFD, one for each maximal bad part. Bytes without a token are left out. (Real
  // vocabularies have all 256.)
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  // The ids of all segments as one text. Added tokens are looked for inside each segment alone, as it allows;
  // what remains is joined before it is normalised and split, so segments without added tokens give the same
  // ids however the text is cut.
  std::vector<int32_t> Encode(std::span<const TextSegment> segments) const;
  // Invalid UTF-8 becomes U+FFFD, one for each maximal bad part; unused ids are left out.
  std::string Decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The raw bytes of one token (may be a part of a character); empty for unused ids.
  std::string_view TokenBytes(int32_t id) const;
  // The byte-mapped piece as files write it ("Ġhello").
  std::string Piece(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // The id of an added token or piece by its literal text, or -1.
  int32_t IdOf(std::string_view token) const;
  // One more than the largest id in use. The embedding may have more rows.
  size_t size() const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Joins the bytes of streamed tokens and gives out whole UTF-8 characters only; an incomplete tail is held
// back. All output together is what Decode would give.
class StreamDecoder {
 public:
  std::string Push(std::string_view bytes);
  std::string Finish();  // what was held back, repaired

 private:
  std::string tail_;
};

}  // namespace qwen3vl
