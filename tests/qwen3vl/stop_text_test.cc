// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/stop_text.h"

#include <gtest/gtest.h>

namespace qwen3vl {
namespace {

TEST(StopText, PassesTextThroughWithoutStops) {
  StopText stop({});
  EXPECT_EQ(stop.Push("abc"), "abc");
  EXPECT_EQ(stop.Finish(), "");
}

TEST(StopText, HoldsBackWhatMayBecomeAStop) {
  StopText stop({"END"});
  EXPECT_EQ(stop.Push("textE"), "text");
  EXPECT_EQ(stop.Push("N"), "");
  EXPECT_EQ(stop.Push("x"), "ENx");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopText, EndsAtTheFirstStopAcrossPieces) {
  StopText stop({"END", "\n\n"});
  EXPECT_EQ(stop.Push("a\n"), "a");
  EXPECT_EQ(stop.Push("\nb END"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.Push("more"), "");
  EXPECT_EQ(stop.Finish(), "");
}

TEST(StopText, GivesBackTheTailAtTheEnd) {
  StopText stop({"END", ""});
  EXPECT_EQ(stop.Push("EN"), "");
  EXPECT_EQ(stop.Finish(), "EN");
}

}  // namespace
}  // namespace qwen3vl
