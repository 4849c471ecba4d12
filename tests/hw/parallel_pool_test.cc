// SPDX-License-Identifier: Apache-2.0
// What the pool promises beyond ParallelFor's contract.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "hw/parallel.h"

namespace qwen3vl::hw {
namespace {

#if !defined(__SANITIZE_THREAD__)  // which can't follow a process that forks with threads
// With as many threads as its parent, and with more.
TEST(ThreadPool, AForkedChildWorksAndEnds) {
  std::atomic<size_t> runs = 0;
  ParallelFor({4}, 100, [&](size_t, size_t) { ++runs; });
  const pid_t child = fork();
  if (child == 0) {
    ParallelFor({4}, 100, [&](size_t, size_t) { ++runs; });
    ParallelFor({8}, 100, [&](size_t, size_t) { ++runs; });
    std::exit(runs == 300 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

}  // namespace
}  // namespace qwen3vl::hw
