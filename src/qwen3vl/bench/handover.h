// SPDX-License-Identifier: Apache-2.0
// How long a written cache line takes from one core to another. It tells where the cores are: some 30 ns
// apart within a group that shares its last cache, 100 ns and more across groups, each of which has a way to
// memory of its own. The host of a virtual machine moves its processors between groups while it runs: what
// two threads read from memory then changes by a factor of two, for reasons outside of any program.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace qwen3vl::bench {

// A cache line that two threads write in turn.
class SharedLine {
 public:
  // Both threads call this at about the same time, one with side 0, the other with side 1. Nanoseconds of one
  // way, the least of several trips; absent where the other did not come within `patience`.
  std::optional<double> Pass(int side, std::chrono::microseconds patience) noexcept;

 private:
  alignas(64) std::atomic<uint64_t> line_{0};  // the meeting's number in the high half, writes so far below
  // Each written by its side only.
  alignas(64) uint64_t meetings_[2] = {};
};

}  // namespace qwen3vl::bench
