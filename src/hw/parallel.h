// SPDX-License-Identifier: Apache-2.0
// The only place that knows the thread backend: a pool of this project, or OpenMP for apps that live on it.
//
// The pool exists for computers that are doing something else as well. OpenMP ends each loop by waiting for
// all of its threads, also for one that the system has not let run yet; with a busy neighbour that costs a
// time slice at every one of the hundreds of loops a token needs. Here the caller takes tasks like everyone
// else and waits only for threads that have begun one. Between loops the threads spin for a moment, so that
// the next loop starts at once, and then sleep.
//
// Every application thread that calls has helpers of its own, which live as long as it does. A call from
// within a task runs on the task's thread alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

namespace qwen3vl::hw {

// How many threads an operation may use. A value, so that it travels with options instead of living in a
// global.
struct Threads {
  size_t count = 1;
  const std::atomic<bool>* cancel = nullptr;  // set by anyone, at any time: tasks not yet begun are skipped
};

namespace internal {
// work(context, thread) takes tasks until none is left; it is called on up to n_threads threads at a time, by
// the caller as thread 0 and by none twice. Returns when every call that began has ended.
void RunOnThreads(size_t n_threads, void (*work)(const void* context, size_t thread), const void* context);
}  // namespace internal

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
  using Work = decltype(work);
  internal::RunOnThreads(
      n, [](const void* context, size_t thread) { (*static_cast<const Work*>(context))(thread); }, &work);
}

// The same for tasks that stream memory: a thread goes through neighbours, one run of tasks for each thread,
// and helps with the runs of others when its own is done. What a task has asked for ahead belongs to the next
// one. At most 256 threads take part.
template <class Fn>
void ParallelForRuns(Threads threads, size_t n_tasks, const Fn& fn) {
  constexpr size_t kMostRuns = 256;
  const size_t n_runs = std::min({std::max<size_t>(1, threads.count), kMostRuns, n_tasks});
  const auto cancelled = [&] { return threads.cancel && threads.cancel->load(std::memory_order_relaxed); };
  std::atomic<size_t> taken[kMostRuns] = {};  // of each run
  ParallelFor(threads, n_runs, [&](size_t own, size_t thread) {
    for (size_t i = 0; i < n_runs; ++i) {
      const size_t run = (own + i) % n_runs;
      const size_t begin = n_tasks * run / n_runs, count = n_tasks * (run + 1) / n_runs - begin;
      for (size_t task; (task = taken[run].fetch_add(1, std::memory_order_relaxed)) < count && !cancelled();)
        fn(begin + task, thread);
    }
  });
}

}  // namespace qwen3vl::hw
