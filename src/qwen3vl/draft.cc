// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/draft.h"

#include <algorithm>

namespace qwen3vl {
namespace {

// How far one more observation moves what is known, and how fast that is forgotten without one.
constexpr double kRate = 1.0 / 8, kForgetRate = 1.0 / 64;

void Move(double& known, double observed, double rate = kRate) { known += rate * (observed - known); }

// The last place before the end where the longest run of tokens, up to `most`, stands that also ends `ids`.
struct Match {
  size_t length = 0;
  size_t end = 0;  // index after it
};

Match FindMatch(std::span<const int32_t> ids, size_t most) {
  Match best;
  for (size_t end = ids.size(); --end > 0 && best.length < most;) {
    size_t length = 0;
    while (length < most && length < end && ids[end - 1 - length] == ids[ids.size() - 1 - length]) ++length;
    if (length > best.length) best = {length, end};
  }
  return best;
}

}  // namespace

std::span<const int32_t> Draft::Guess(std::span<const int32_t> ids, size_t most) {
  guess_.clear();
  seen_ = 0;
  if (ids.empty() || most == 0) return {};
  const Match match = FindMatch(ids, kLongestMatch);
  match_ = match.length;
  if (match_ == 0) return {};
  // Where the text ends, the guess goes on from its own beginning.
  for (size_t i = 0; i < most; ++i) {
    const size_t at = match.end + i;
    guess_.push_back(at < ids.size() ? ids[at] : guess_[at - ids.size()]);
  }

  // Tokens expected of a step, and its cost in steps of one token.
  double tokens = 1, all_true = 1, best = 1;
  size_t worth = 0;
  for (size_t n = 1; n <= guess_.size(); ++n) {
    all_true *= came_true_[match_];
    tokens += all_true;
    const double gain = tokens / (1 + extra_cost_ * static_cast<double>(n));
    if (gain <= best) continue;
    best = gain;
    worth = n;
  }
  // Else a step that something else held up once would end all guessing.
  if (worth == 0) Move(extra_cost_, kUsualExtra, kForgetRate);
  return std::span(guess_).first(worth);
}

void Draft::Learn(int32_t id) {
  if (seen_ == guess_.size()) return;
  const bool came_true = guess_[seen_] == id;
  Move(came_true_[match_], came_true ? 1 : 0);
  if (came_true)
    ++seen_;
  else
    guess_.clear(), seen_ = 0;
}

void Draft::Timed(size_t tokens, double seconds) {
  if (tokens == 1) {
    one_token_s_ == 0 ? void(one_token_s_ = seconds) : Move(one_token_s_, seconds);
  } else if (one_token_s_ > 0) {
    const double extra = (seconds / one_token_s_ - 1) / static_cast<double>(tokens - 1);
    Move(extra_cost_, std::clamp(extra, 0.0, 2.0));
  }
}

}  // namespace qwen3vl
