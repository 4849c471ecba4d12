// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/draft.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qwen3vl {
namespace {

using Ids = std::vector<int32_t>;

Ids GuessOf(Draft& draft, const Ids& ids, size_t most = 3) {
  const std::span<const int32_t> guess = draft.Guess(ids, most);
  return {guess.begin(), guess.end()};
}

// Lets `times` guesses after a match of `match` tokens come true or not.
void Teach(Draft& draft, size_t match, bool came_true, int times) {
  Ids ids;
  for (size_t i = 0; i < match; ++i) ids.push_back(static_cast<int32_t>(i));
  ids.push_back(100);
  ids.push_back(200);
  for (size_t i = 0; i < match; ++i) ids.push_back(static_cast<int32_t>(i));
  for (int i = 0; i < times; ++i) {
    GuessOf(draft, ids);
    draft.Learn(came_true ? 100 : 99);
  }
}

TEST(Draft, GoesOnAsAfterTheLongestMatch) {
  Draft draft;
  const Ids ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 6, 60, 61, 62, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(GuessOf(draft, ids), (Ids{7, 8, 9}));
  EXPECT_EQ(GuessOf(draft, ids, 2), (Ids{7, 8}));
  EXPECT_EQ(GuessOf(draft, ids, 0), Ids{});
}

TEST(Draft, OfEqualMatchesTheLastOneCounts) {
  Draft draft;
  Teach(draft, 2, true, 40);
  EXPECT_EQ(GuessOf(draft, {1, 2, 7, 7, 7, 1, 2, 8, 8, 9, 1, 2}), (Ids{8, 8, 9}));
}

TEST(Draft, WhatGoesInCirclesIsGuessedToGoOn) {
  Draft draft;
  Teach(draft, 3, true, 40);
  EXPECT_EQ(GuessOf(draft, {1, 2, 3, 1, 2, 3}), (Ids{1, 2, 3}));
  Teach(draft, 6, true, 40);
  EXPECT_EQ(GuessOf(draft, {5, 5, 5, 5, 5, 5, 5, 5}), (Ids{5, 5, 5}));  // the match ends one token before
  EXPECT_EQ(GuessOf(draft, {1, 2, 1, 2, 1, 2, 1, 2}), (Ids{1, 2, 1}));
}

TEST(Draft, WithoutAMatchThereIsNoGuess) {
  Draft draft;
  EXPECT_EQ(GuessOf(draft, {}), Ids{});
  EXPECT_EQ(GuessOf(draft, {1}), Ids{});
  EXPECT_EQ(GuessOf(draft, {1, 2, 3, 4}), Ids{});
}

TEST(Draft, GuessesThatDoNotComeTrueAreGivenUpAndTakenUpAgain) {
  Draft draft;
  const Ids ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6};
  Teach(draft, 6, false, 40);
  EXPECT_EQ(GuessOf(draft, ids), Ids{});
  // What was not computed along is learned from all the same.
  Teach(draft, 6, true, 40);
  EXPECT_EQ(GuessOf(draft, ids), (Ids{7, 8, 9}));
}

// With a chance p of each guess and a cost c of a further token, one guess pays where 1 + p > 1 + c.
TEST(Draft, DearStepsTakeNoGuessesAlong) {
  const Ids ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6};
  Draft draft;
  for (int i = 0; i < 40; ++i) draft.Timed(1, 0.010), draft.Timed(2, 0.019);  // 0.9 of a step for one more
  EXPECT_EQ(GuessOf(draft, ids), Ids{});
  for (int i = 0; i < 40; ++i) draft.Timed(4, 0.011);
  EXPECT_EQ(GuessOf(draft, ids), (Ids{7, 8, 9}));
}

TEST(Draft, OneSlowStepIsForgotten) {
  const Ids ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6};
  Draft draft;
  draft.Timed(1, 0.010);
  for (int i = 0; i < 8; ++i) draft.Timed(2, 1.0);
  int tries = 0;
  while (GuessOf(draft, ids).empty() && tries < 1000) ++tries;
  EXPECT_GT(tries, 0);
  EXPECT_LT(tries, 200);
}

}  // namespace
}  // namespace qwen3vl
