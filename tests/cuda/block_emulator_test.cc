// SPDX-License-Identifier: Apache-2.0
// The emulator finds what it is there to find.
#include "cuda/block_emulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace qwen3vl::gpu {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr ThreadOrder kOrders[] = {ThreadOrder::kForward, ThreadOrder::kReverse, ThreadOrder::kShuffled};

std::string FailureOf(const std::function<void()>& kernel) {
  try {
    Launch({}, 64, kernel);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "ran";
}

TEST(BlockEmulator, RunsEveryThreadOfEveryBlock) {
  std::vector<int> count(2 * 3 * 4 * 64);
  Launch({2, 3, 4}, 64, [&] {
    EXPECT_EQ(GridX(), 2u);
    ++count[((BlockZ() * 3 + BlockY()) * 2 + BlockX()) * 64 + ThreadIndex()];
  });
  EXPECT_EQ(count, std::vector<int>(count.size(), 1));
}

TEST(BlockEmulator, BarrierMakesWritesSeen) {
  for (ThreadOrder order : kOrders) {
    std::vector<int> seen(64);
    Launch(
        {}, 64,
        [&] {
          struct Numbers {
            int at[64];
          };
          Numbers& shared = Shared<Numbers>();
          shared.at[ThreadIndex()] = static_cast<int>(ThreadIndex());
          Barrier();
          seen[ThreadIndex()] = shared.at[63 - ThreadIndex()];
        },
        order);
    for (int t = 0; t < 64; ++t) EXPECT_EQ(seen[static_cast<size_t>(t)], 63 - t);
  }
}

TEST(BlockEmulator, ShufflesStayInTheWarp) {
  for (ThreadOrder order : kOrders) {
    std::vector<float> exchanged(64), first(64);
    Launch(
        {}, 64,
        [&] {
          const unsigned t = ThreadIndex();
          exchanged[t] = ShuffleXor(static_cast<float>(t), 5);
          first[t] = ShuffleFrom(static_cast<float>(t), 3);
        },
        order);
    for (unsigned t = 0; t < 64; ++t) {
      EXPECT_EQ(exchanged[t], static_cast<float>(t ^ 5));
      EXPECT_EQ(first[t], static_cast<float>(t / 32 * 32 + 3));
    }
  }
}

TEST(BlockEmulator, SharedMemoryBeginsAsNan) {
  Launch({3}, 32, [&] {
    if (ThreadIndex() > 0) return;
    float& x = Shared<float>();
    EXPECT_TRUE(std::isnan(x));
    x = 0;
  });
}

TEST(BlockEmulator, RefusesMoreSharedMemoryThanABlockHas) {
  EXPECT_EQ(FailureOf([] { SharedBytes(49152); }), "ran");
  EXPECT_EQ(FailureOf([] { SharedBytes(49153); }), "49153 bytes of shared memory, a block has 49152");
}

TEST(BlockEmulator, NamesABarrierThatOnlySomeThreadsReach) {
  const std::string failure = FailureOf([] {
    if (ThreadIndex() < 40) Barrier();
  });
  EXPECT_THAT(failure, AllOf(HasSubstr("thread 0 waits at the barrier"), HasSubstr("thread 40 has ended")));
}

TEST(BlockEmulator, NamesTwoBarriers) {
  const std::string failure = FailureOf([] {
    if (ThreadIndex() < 32)
      Barrier();
    else
      Barrier();
  });
  EXPECT_THAT(failure, HasSubstr("split over two barriers"));
}

TEST(BlockEmulator, NamesAShuffleInABranch) {
  const std::string alone = FailureOf([] {
    if (ThreadIndex() % 2) ShuffleXor(1, 1);
  });
  EXPECT_THAT(alone, AllOf(HasSubstr("thread 1 waits in the shuffle"), HasSubstr("thread 0 has ended")));
  const std::string two = FailureOf([] {
    if (ThreadIndex() % 2)
      ShuffleXor(1, 1);
    else
      ShuffleXor(1, 1);
  });
  EXPECT_THAT(two, HasSubstr("split over two shuffles"));
}

}  // namespace
}  // namespace qwen3vl::gpu
