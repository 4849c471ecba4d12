// SPDX-License-Identifier: Apache-2.0
// The only place that knows the thread backend: OpenMP, or std::thread where ThreadSanitizer has to see every
// hand-over (it starts threads anew for each call, which costs tens of microseconds a thread).
//
// GNU's OpenMP keeps its threads spinning for a while after each call, so that the next one starts at once.
// More threads than this process may use processors therefore slow everything down; CpuInfo::default_threads
// never asks for them. Every application thread that calls has threads of its own. Inside an OpenMP task, a
// call runs on the task's thread alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>
#include <vector>

namespace qwen3vl::hw {

// How many threads an operation may use. A value, so that it travels with options instead of living in a
// global.
struct Threads {
  size_t count = 1;
  const std::atomic<bool>* cancel = nullptr;  // set by anyone, at any time: tasks not yet begun are skipped
};

// Calls fn(task, thread) once for every task in 0 .. n_tasks - 1, with thread in 0 .. threads.count - 1.
// Tasks are handed out in order, so put the heavy ones first. fn must not throw. Returns when all are done.
// Results must not depend on which thread ran a task: that is what keeps output bit-identical from run to
// run.
template <class Fn>
void ParallelFor(Threads threads, size_t n_tasks, const Fn& fn) {
  const size_t n = threads.count < n_tasks ? threads.count : n_tasks;
  const auto cancelled = [&] { return threads.cancel && threads.cancel->load(std::memory_order_relaxed); };
  if (n <= 1) {
    for (size_t task = 0; task < n_tasks && !cancelled(); ++task) fn(task, size_t{0});
    return;
  }
  std::atomic<size_t> next{0};
  const auto work = [&](size_t thread) {
    for (size_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < n_tasks && !cancelled();)
      fn(task, thread);
  };
#if defined(_OPENMP)
#pragma omp parallel for num_threads(static_cast <int>(n)) schedule(static, 1)
  for (size_t thread = 0; thread < n; ++thread) work(thread);
#else
  std::vector<std::thread> others;
  others.reserve(n - 1);
  try {
    for (size_t thread = 1; thread < n; ++thread) others.emplace_back(work, thread);
  } catch (const std::system_error&) {
    // No more threads to be had: those that run share the tasks.
  }
  work(0);
  for (std::thread& t : others) t.join();
#endif
}

}  // namespace qwen3vl::hw
