// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/repack.h"

#include <gtest/gtest.h>

namespace qwen3vl {
namespace {

constexpr size_t kGiB = size_t{1} << 30;

TEST(Repack, IsLeftToTheFreeMemoryUnlessAskedFor) {
  using enum RepackChoice;
  // 2 GiB of weights, 1 GiB of copies, and 1 GiB for the rest.
  EXPECT_TRUE(MakesCopies(kAuto, kGiB, 2 * kGiB, 4 * kGiB));
  EXPECT_FALSE(MakesCopies(kAuto, kGiB, 2 * kGiB, 4 * kGiB - 1));
  EXPECT_FALSE(MakesCopies(kAuto, kGiB, 2 * kGiB, kGiB - 1));
  EXPECT_FALSE(MakesCopies(kAuto, kGiB, 2 * kGiB, 0));
  EXPECT_FALSE(MakesCopies(kAuto, SIZE_MAX, SIZE_MAX, 4 * kGiB));
  EXPECT_TRUE(MakesCopies(kOn, kGiB, 2 * kGiB, 0));
  EXPECT_FALSE(MakesCopies(kOff, kGiB, 2 * kGiB, 100 * kGiB));
  EXPECT_FALSE(MakesCopies(kOn, 0, 2 * kGiB, 100 * kGiB));
}

}  // namespace
}  // namespace qwen3vl
