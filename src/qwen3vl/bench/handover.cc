// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/handover.h"

#include <algorithm>

namespace qwen3vl::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kTrips = 160;      // of one meeting, there and back
constexpr uint64_t kTripsTimed = 32;  // together: a look at the clock costs as much as a trip
constexpr uint64_t kMeeting = uint64_t{1} << 32;
constexpr uint64_t kTripBits = kMeeting - 1, kClosed = kTripBits;
constexpr int kLooksPerClock = 256;

}  // namespace

// Side 0 opens a meeting by its number, which side 1 takes from the line, and closes it when it has waited in
// vain: so they meet again the next time.
std::optional<double> SharedLine::Pass(int side, std::chrono::microseconds patience) noexcept {
  const Clock::time_point end = Clock::now() + patience;
  const auto wait = [&](auto arrived) {
    for (int look = 1; !arrived(line_.load(std::memory_order_acquire)); ++look)
      if (look % kLooksPerClock == 0 && Clock::now() >= end) return false;
    return true;
  };
  uint64_t& meeting = meetings_[side];
  if (side == 0) {
    meeting += kMeeting;
    line_.store(meeting, std::memory_order_release);
  } else {
    uint64_t opened = 0;
    const bool open = wait([&](uint64_t seen) {
      opened = seen & ~kTripBits;
      return opened > meeting && (seen & kTripBits) != kClosed;
    });
    if (!open) return std::nullopt;
    meeting = opened;
  }
  const auto meet = [&](uint64_t writes) {
    if (wait([&](uint64_t seen) { return seen == meeting + writes; })) return true;
    if (side == 0) line_.store(meeting | kClosed, std::memory_order_release);
    return false;
  };
  double least_s = 1;
  for (uint64_t trip = 0; trip < kTrips; trip += kTripsTimed) {
    Clock::time_point start = Clock::now();
    for (uint64_t i = trip; i < trip + kTripsTimed; ++i) {
      const uint64_t mine = 2 * i + static_cast<uint64_t>(side);
      if (!meet(mine)) return std::nullopt;
      line_.store(meeting + mine + 1, std::memory_order_release);
    }
    const std::chrono::duration<double> took = Clock::now() - start;
    // In the first ones the other may still be on its way.
    if (trip > 0) least_s = std::min(least_s, took.count());
  }
  // Not before side 1 has seen the last one may the next meeting begin.
  if (side == 0 && !meet(2 * kTrips)) return std::nullopt;
  return least_s / (2 * kTripsTimed) * 1e9;
}

}  // namespace qwen3vl::bench
