// SPDX-License-Identifier: Apache-2.0
// What the pool promises beyond ParallelFor's contract.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "hw/parallel.h"

namespace qwen3vl::hw {
namespace {

#if !defined(__SANITIZE_THREAD__)  // which can't follow a process that forks with threads
// Runs `body` in a child made by fork, which ends with 0 when it returned true.
template <class Body>
void ExpectTrueInChild(const Body& body) {
  const pid_t child = fork();
  if (child == 0) std::exit(body() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

// Threads of a child get the memory in which the helpers of its parent lived.
void MakeOtherThreads() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([] {});
  for (std::thread& thread : threads) thread.join();
}

// With as many threads as its parent, and with more.
TEST(ThreadPool, AForkedChildWorksAndEnds) {
  std::atomic<size_t> runs = 0;
  ParallelFor({4}, 100, [&](size_t, size_t) { ++runs; });
  for (const bool with_others : {false, true})
    ExpectTrueInChild([&] {
      if (with_others) MakeOtherThreads();
      ParallelFor({4}, 100, [&](size_t, size_t) { ++runs; });
      ParallelFor({8}, 100, [&](size_t, size_t) { ++runs; });
      return runs == 300;
    });
}

TEST(ThreadPool, AForkedChildEndsWithoutALoop) {
  ParallelFor({4}, 100, [](size_t, size_t) {});
  ExpectTrueInChild([] {
    MakeOtherThreads();
    return true;
  });
}
#endif

TEST(ThreadPool, HelpersTakeNoSignalsOfTheApp) {
  sigset_t before, masks[2];
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  std::atomic<size_t> here = 0;
  ParallelFor({2}, 2, [&](size_t, size_t thread) {
    ++here;  // two tasks that need each other: the helper must come
    while (here < 2) std::this_thread::yield();
    pthread_sigmask(SIG_SETMASK, nullptr, &masks[thread]);
  });
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGCHLD, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    const bool caused_by_a_thread =
        signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL;
    EXPECT_EQ(sigismember(&masks[1], signal), caused_by_a_thread ? 0 : 1) << signal;
    EXPECT_EQ(sigismember(&masks[0], signal), sigismember(&before, signal)) << signal;
  }
}

}  // namespace
}  // namespace qwen3vl::hw
