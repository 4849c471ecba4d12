// SPDX-License-Identifier: Apache-2.0
// Guesses how an answer goes on: as it did the last time that its newest tokens stood in the conversation
// (prompt lookup decoding, Saxena 2023). Boxes, tables, code and quotations repeat themselves. A step that is
// bound by reading weights takes guessed tokens along for little, and where they come true it has computed
// several tokens (speculative decoding, Leviathan et al. 2023).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qwen3vl {

class Draft {
 public:
  // Up to `most` tokens that may follow `ids`: as many as make a token cheapest, by how often guesses came
  // true so far and how long steps took; often none. Valid until the next call.
  std::span<const int32_t> Guess(std::span<const int32_t> ids, size_t most);
  // Which token did follow, whether it was guessed or not: called for each of them, in order.
  void Learn(int32_t id);
  // How long a step of so many tokens took.
  void Timed(size_t tokens, double seconds);

 private:
  static constexpr size_t kLongestMatch = 6;
  static constexpr double kUsualExtra = 0.25;

  std::vector<int32_t> guess_;  // of which `seen_` have come true
  size_t seen_ = 0;
  size_t match_ = 0;  // tokens before the guess that are the same in both places
  // Share of guessed tokens that came true, by match_; at first as counted on answers with boxes, tables,
  // code and prose.
  std::array<double, kLongestMatch + 1> came_true_ = {0, 0.2, 0.4, 0.5, 0.6, 0.6, 0.75};
  double one_token_s_ = 0;           // of a step; 0: not known yet
  double extra_cost_ = kUsualExtra;  // of a further token in a step, in steps of one token
};

}  // namespace qwen3vl
