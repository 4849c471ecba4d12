// SPDX-License-Identifier: Apache-2.0
// Streams the JSON files of a tokenizer. The vocabulary and the merges, which are nearly all of the 11 MB,
// go straight to their lists; of the scalars, those that the caller reads are kept under their paths
// ("added_tokens/0/content").
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwen3vl {

struct TokenizerJson {
  std::vector<std::pair<std::string, int64_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;
  std::map<std::string, nlohmann::json> scalars;  // by path
  size_t n_added = 0;                             // elements of "added_tokens"
};

// `vocab_path` and `merges_path` name the object and the array to stream ("model/vocab"; "" is the whole
// document, "-" nowhere). `keep` says whether the scalar at a path is wanted; without it, none is. Throws
// Error(kCorruptFile) naming `file` and the key or the byte.
TokenizerJson ParseTokenizerJson(std::string_view text, const std::string& file, std::string_view vocab_path,
                                 std::string_view merges_path,
                                 std::function<bool(std::string_view path)> keep = {});

// "left right" cut at its only space. Throws Error(kCorruptFile) with `where` for anything else.
std::pair<std::string, std::string> SplitMerge(std::string_view line, const std::string& where);

}  // namespace qwen3vl
