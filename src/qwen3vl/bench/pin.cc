// SPDX-License-Identifier: Apache-2.0
// Threads on processors of their own.
#include <sched.h>

#include <atomic>
#include <chrono>

#include "hw/parallel.h"
#include "qwen3vl/bench/measure.h"

namespace qwen3vl::bench {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(1000);

bool PinCaller(size_t cpu) {
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  return sched_setaffinity(0, sizeof mask, &mask) == 0;
}

}  // namespace

bool PinThreads(std::span<const size_t> cpus, size_t threads) {
  std::atomic<size_t> arrived{0};
  std::atomic<bool> ok{true};
  // Each thread waits for the others, so that none takes two of the tasks.
  hw::ParallelFor(hw::Threads{threads}, threads, [&](size_t, size_t thread) {
    if (!PinCaller(cpus[thread % cpus.size()])) ok = false;
    arrived.fetch_add(1);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (arrived.load() < threads && std::chrono::steady_clock::now() < deadline) sched_yield();
  });
  return ok;
}

}  // namespace qwen3vl::bench
