// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer_added.h"

namespace qwen3vl {

size_t AddedTokens::Child(size_t node, char byte) const {
  size_t child = nodes_[node].first_child;
  while (child != 0 && nodes_[child].byte != static_cast<unsigned char>(byte)) child = nodes_[child].sibling;
  return child;
}

void AddedTokens::Add(std::string_view text, int32_t id, bool special) {
  size_t node = 0;
  for (const char byte : text) {
    size_t child = Child(node, byte);
    if (child == 0) {
      child = nodes_.size();
      nodes_.push_back({.byte = static_cast<unsigned char>(byte), .sibling = nodes_[node].first_child});
      nodes_[node].first_child = child;
    }
    node = child;
  }
  nodes_[node].id = id;
  nodes_[node].special = special;
}

std::optional<AddedTokens::Match> AddedTokens::Find(std::string_view text, size_t from,
                                                    bool with_special) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    Match match{.begin = begin};
    size_t node = 0;
    for (size_t pos = begin; pos < text.size(); ++pos) {
      node = Child(node, text[pos]);
      if (node == 0) break;
      if (nodes_[node].id < 0 || (nodes_[node].special && !with_special)) continue;
      match.end = pos + 1;
      match.id = nodes_[node].id;
    }
    if (match.id >= 0) return match;
  }
  return std::nullopt;
}

int32_t AddedTokens::IdOf(std::string_view text) const {
  size_t node = 0;
  for (const char byte : text) {
    node = Child(node, byte);
    if (node == 0) return -1;
  }
  return nodes_[node].id;
}

}  // namespace qwen3vl
