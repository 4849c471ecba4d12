// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/deviation.h"

#include <gtest/gtest.h>

namespace qwen3vl {
namespace {

TEST(Deviation, IsTheLargestDifferenceAndTheRelativeNorm) {
  Deviation d;
  d.Add(3, 3);
  d.Add(1, 4);
  EXPECT_EQ(d.max_abs, 3);
  EXPECT_DOUBLE_EQ(d.rel_norm(), 3.0 / 5);
}

TEST(Deviation, KeepsNanWhateverFollows) {
  Deviation d;
  d.Add(1, 1);
  d.Add(NAN, 1);
  d.Add(1, 1);
  EXPECT_TRUE(std::isnan(d.max_abs));
  EXPECT_TRUE(std::isnan(d.rel_norm()));
}

TEST(Deviation, FromZeroIsInfiniteUnlessTheResultIsZeroToo) {
  Deviation d;
  d.Add(0, 0);
  EXPECT_EQ(d.rel_norm(), 0);
  d.Add(1, 0);
  EXPECT_TRUE(std::isinf(d.rel_norm()));
}

TEST(WorstOf, HoldsNanToBeTheWorst) {
  EXPECT_TRUE(std::isnan(WorstOf(NAN, 1)));
  EXPECT_TRUE(std::isnan(WorstOf(1, NAN)));
  EXPECT_EQ(WorstOf(1, 2), 2);
}

}  // namespace
}  // namespace qwen3vl
