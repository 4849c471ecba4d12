// SPDX-License-Identifier: Apache-2.0
// Added tokens ("<|im_end|>"): literal texts that are one token each, found before anything else is done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace qwen3vl {

class AddedTokens {
 public:
  struct Match {
    size_t begin = 0, end = 0;  // bytes of the text
    int32_t id = -1;
  };

  // `text` must not be empty; the last of two equal texts wins.
  void Add(std::string_view text, int32_t id, bool special);
  // The leftmost match that begins at `from` or later, the longest of those beginning there. Without
  // `with_special` the special tokens do not count.
  std::optional<Match> Find(std::string_view text, size_t from, bool with_special) const;
  // The id of exactly this text, or -1.
  int32_t IdOf(std::string_view text) const;

 private:
  // A trie; children are linked as a list. Node 0 is the root.
  struct Node {
    unsigned char byte = 0;
    bool special = false;
    int32_t id = -1;  // -1: no token ends here
    size_t first_child = 0, sibling = 0;
  };
  size_t Child(size_t node, char byte) const;  // 0: none

  std::vector<Node> nodes_{Node{}};
};

}  // namespace qwen3vl
