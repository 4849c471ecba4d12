// SPDX-License-Identifier: Apache-2.0
#include "hw/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace qwen3vl::hw {
namespace {

struct Case {
  size_t threads, n_tasks;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.threads << " threads, " << c.n_tasks << " tasks"; }

using Task = std::function<void(size_t task, size_t thread)>;
constexpr void (*kLoops[])(Threads, size_t, const Task&) = {
    [](Threads threads, size_t n_tasks, const Task& task) { ParallelFor(threads, n_tasks, task); },
    [](Threads threads, size_t n_tasks, const Task& task) { ParallelForRuns(threads, n_tasks, task); },
};

class ParallelForTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ParallelForTest,
                         testing::Values(Case{1, 0}, Case{4, 0}, Case{1, 1}, Case{4, 1}, Case{1, 100},
                                         Case{4, 2}, Case{4, 4}, Case{4, 5}, Case{3, 1000}, Case{64, 10},
                                         Case{32, 3000}, Case{0, 7}));

TEST_P(ParallelForTest, RunsEveryTaskOnceOnAThreadInRange) {
  const auto [threads, n_tasks] = GetParam();
  for (const auto loop : kLoops) {
    std::vector<std::atomic<int>> runs(n_tasks);
    std::atomic<bool> in_range = true;
    loop({threads}, n_tasks, [&, threads = threads](size_t task, size_t thread) {
      runs.at(task).fetch_add(1);
      if (thread >= (threads ? threads : 1)) in_range = false;
    });
    for (size_t task = 0; task < n_tasks; ++task) EXPECT_EQ(runs[task], 1) << task;
    EXPECT_TRUE(in_range);
  }
}

// Scratch memory belongs to a thread index: two tasks at a time under one index would tear it.
TEST_P(ParallelForTest, NeverRunsTwoTasksUnderOneThreadIndexAtATime) {
  const auto [threads, n_tasks] = GetParam();
  for (const auto loop : kLoops) {
    std::vector<std::atomic<int>> busy(threads ? threads : 1);
    std::atomic<bool> overlapped = false;
    loop({threads}, n_tasks, [&](size_t, size_t thread) {
      if (busy[thread].fetch_add(1) != 0) overlapped = true;
      busy[thread].fetch_sub(1);
    });
    EXPECT_FALSE(overlapped);
  }
}

TEST(ParallelForRuns, ThreadsBeginInRunsOfTheirOwn) {
  std::atomic<size_t> begun = 0, before_second_run = 0;
  std::atomic<bool> second_run = false;
  ParallelForRuns({2}, 100, [&](size_t task, size_t) {
    const size_t before = begun.fetch_add(1);
    if (task == 50) {
      before_second_run = before;
      second_run = true;
    }
    while (task == 0 && !second_run) std::this_thread::yield();  // no thread can pass, nor wait in vain
  });
  EXPECT_EQ(begun, 100u);
  EXPECT_LE(before_second_run, 1u);
}

TEST(ParallelFor, ResultsAreVisibleAfterwards) {
  std::vector<size_t> squares(10000);  // plain memory: the join must publish it
  for (int round = 0; round < 20; ++round) {
    ParallelFor({4}, squares.size(), [&](size_t task, size_t) { squares[task] += task * task; });
    for (size_t i = 0; i < squares.size(); ++i) squares[i] += 1;
  }
  for (size_t i = 0; i < squares.size(); ++i) ASSERT_EQ(squares[i], 20 * (i * i + 1));
}

TEST(ParallelFor, OneThreadRunsTasksInOrder) {
  std::vector<size_t> order;
  ParallelFor({1}, 5, [&](size_t task, size_t) { order.push_back(task); });
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4}));
}

TEST(ParallelFor, CancellingSkipsTasksNotYetBegun) {
  for (const size_t threads : {1u, 4u}) {
    for (const auto loop : kLoops) {
      std::atomic<bool> cancel = false;
      std::atomic<size_t> runs = 0;
      loop({threads, &cancel}, 100000, [&](size_t, size_t) {
        if (runs.fetch_add(1) == 10) cancel = true;
      });
      EXPECT_GE(runs, 11u);
      EXPECT_LT(runs, 100000u);
      loop({threads, &cancel}, 10, [&](size_t, size_t) { FAIL(); });
    }
  }
}

TEST(ParallelFor, ATaskMayStartALoopOfItsOwn) {
  std::atomic<size_t> runs = 0;
  std::atomic<bool> moved = false;
  ParallelFor({3}, 20, [&](size_t, size_t) {
    const std::thread::id here = std::this_thread::get_id();
    ParallelFor({3}, 10, [&](size_t, size_t thread) {
      if (thread != 0 || std::this_thread::get_id() != here) moved = true;
      ++runs;
    });
  });
  EXPECT_EQ(runs, 200u);
  EXPECT_FALSE(moved);
}

TEST(ParallelFor, GrowsAndShrinksBetweenCalls) {
  for (const size_t threads : {2u, 7u, 3u, 1u, 12u, 2u}) {
    std::atomic<size_t> runs = 0, highest = 0;
    ParallelFor({threads}, 1000, [&](size_t, size_t thread) {
      ++runs;
      for (size_t seen = highest; seen < thread && !highest.compare_exchange_weak(seen, thread);) {
      }
    });
    EXPECT_EQ(runs, 1000u);
    EXPECT_LT(highest, threads);
  }
}

TEST(ParallelFor, WakesHelpersThatSleep) {
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than helpers spin
    std::atomic<size_t> here = 0;
    ParallelFor({2}, 2, [&](size_t, size_t) {
      ++here;  // two tasks that need each other: the helper must come
      while (here < 2) std::this_thread::yield();
    });
    EXPECT_EQ(here, 2u);
  }
}

TEST(ParallelFor, MayBeCalledFromSeveralThreads) {
  std::atomic<size_t> runs = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&] { ParallelFor({2}, 500, [&](size_t, size_t) { ++runs; }); });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(runs, 1500u);
}

}  // namespace
}  // namespace qwen3vl::hw
