// SPDX-License-Identifier: Apache-2.0
// Threads on processors of their own.
#include <atomic>
#include <chrono>
#include <cstring>

#include "hw/parallel.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(1000);

bool MoveCaller(const cpu_set_t& to) { return sched_setaffinity(0, sizeof to, &to) == 0; }

bool PinCaller(size_t cpu) {
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  return MoveCaller(mask);
}

cpu_set_t AllowedOfCaller() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) std::memset(&mask, 0xff, sizeof mask);
  return mask;
}

// Calls `step(thread)` once on each thread of operations with so many.
template <class Step>
void OnEachThread(size_t threads, const Step& step) {
  std::atomic<size_t> arrived{0};
  // Each thread waits for the others, so that none takes two of the tasks.
  hw::ParallelFor(hw::Threads{threads}, threads, [&](size_t, size_t thread) {
    step(thread);
    arrived.fetch_add(1);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (arrived.load() < threads && std::chrono::steady_clock::now() < deadline) sched_yield();
  });
}

}  // namespace

PinnedThreads::PinnedThreads(const MeasureOptions& options, size_t threads) {
  const std::vector<size_t>& cpus = options.pin;
  if (cpus.empty()) return;
  before_.assign(threads, AllowedOfCaller());
  std::atomic<bool> ok{true};
  OnEachThread(threads, [&](size_t thread) {
    before_[thread] = AllowedOfCaller();
    if (!PinCaller(cpus[thread % cpus.size()])) ok = false;
  });
  if (ok) return;
  Release();
  throw Error(ErrorCode::kInvalidArgument,
              "--pin: the system refuses one of these processors to this process; see the list in "
              "/proc/self/status, Cpus_allowed_list");
}

void PinnedThreads::Release() {
  if (before_.empty()) return;
  OnEachThread(before_.size(), [&](size_t thread) { MoveCaller(before_[thread]); });
  before_.clear();
}

}  // namespace qwen3vl::bench
