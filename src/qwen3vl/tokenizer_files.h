// SPDX-License-Identifier: Apache-2.0
// Reads a vocabulary from the forms in which models carry it: tokenizer.json; vocab.json with merges.txt and
// tokenizer_config.json; the tokenizer.ggml.* metadata of a GGUF file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qwen3vl/weights.h"

namespace qwen3vl {

struct AddedToken {
  int32_t id = -1;
  std::string text;
  bool special = false;
};

struct TokenizerData {
  std::vector<std::string> pieces;                          // by id, byte-mapped; empty: the id is unused
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<AddedToken> added;
  std::string name;  // file, and metadata key where it has some, for messages
};

// Throws Error: kNotFound when there is no tokenizer, kCorruptFile naming file and key, kUnsupported for
// another kind of tokenizer than byte-level BPE with NFC and Qwen's splitting rule.
TokenizerData ReadTokenizer(const TokenizerSource& source);

}  // namespace qwen3vl
