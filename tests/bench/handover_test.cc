// SPDX-License-Identifier: Apache-2.0
// That two threads meet at a line, and what becomes of one that waits alone. No duration is asserted.
#include "qwen3vl/bench/handover.h"

#include <gtest/gtest.h>

#include <thread>

#include "qwen3vl/bench/peaks.h"

namespace qwen3vl::bench {
namespace {

using std::chrono::microseconds;

constexpr microseconds kLong{10'000'000}, kShort{100};

// What both sides found when they met once.
std::pair<std::optional<double>, std::optional<double>> Meet(SharedLine& line) {
  std::optional<double> second;
  std::thread other([&] { second = line.Pass(1, kLong); });
  const std::optional<double> first = line.Pass(0, kLong);
  other.join();
  return {first, second};
}

TEST(SharedLine, BothSidesTellATimeAtEveryMeeting) {
  SharedLine line;
  for (int meeting = 0; meeting < 3; ++meeting) {
    const auto [first, second] = Meet(line);
    EXPECT_GT(first.value(), 0);
    EXPECT_GT(second.value(), 0);
  }
}

TEST(SharedLine, OneMeetingMayFollowAtOnceUponAnother) {
  constexpr int kMeetings = 20;
  SharedLine line;
  int met[2] = {};
  const auto meet = [&](int side) {
    for (int i = 0; i < kMeetings; ++i) met[side] += line.Pass(side, kLong).has_value();
  };
  std::thread other(meet, 1);
  meet(0);
  other.join();
  EXPECT_EQ(met[0], kMeetings);
  EXPECT_EQ(met[1], kMeetings);
}

TEST(SharedLine, WhoWaitedInVainMeetsTheOtherTheNextTime) {
  SharedLine line;
  EXPECT_FALSE(line.Pass(1, kShort));
  EXPECT_FALSE(line.Pass(0, kShort));
  EXPECT_FALSE(line.Pass(1, kShort));  // what side 0 opened is closed again
  EXPECT_FALSE(line.Pass(0, kShort));
  EXPECT_TRUE(Meet(line).first);
}

TEST(PeakMeter, TwoThreadsTellAHandover) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one processor only";
  const PeakMeter meter({.threads = 2, .read_bytes = 1 << 20, .seconds = 1e-4});
  std::optional<double> ns;
  for (int attempt = 0; attempt < 1000 && !ns; ++attempt) ns = meter.HandoverNs();  // others may use a core
  EXPECT_GT(ns.value(), 0);
}

TEST(PeakMeter, OneThreadHandsNothingOver) {
  EXPECT_FALSE(PeakMeter({.threads = 1, .read_bytes = 1 << 20, .seconds = 1e-4}).HandoverNs());
}

}  // namespace
}  // namespace qwen3vl::bench
