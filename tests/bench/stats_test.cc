// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/stats.h"

#include <gtest/gtest.h>

#include <vector>

namespace qwen3vl::bench {
namespace {

TEST(Stats, SummarizesByHand) {
  const std::vector<double> samples = {4, 1, 3, 2, 10};
  const Stats s = Summarize(samples);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.median, 3);
  EXPECT_EQ(s.mean, 4);
  // Squares of the differences: 0 + 9 + 1 + 4 + 36 = 50, over 4.
  EXPECT_DOUBLE_EQ(s.stddev * s.stddev, 12.5);
  // Rank 0.95 * 4 = 3.8 lies between 4 and 10.
  EXPECT_DOUBLE_EQ(s.p95, 4 + 0.8 * 6);
}

TEST(Stats, OneSampleHasNoSpread) {
  const std::vector<double> samples = {2.5};
  EXPECT_EQ(Summarize(samples), (Stats{2.5, 2.5, 2.5, 0, 2.5}));
}

TEST(MannWhitney, CountsOrdersExactly) {
  // Of the 20 orders of 3 and 3 values two are as extreme as complete separation.
  const std::vector<double> low = {1, 2, 3}, high = {4, 5, 6};
  EXPECT_DOUBLE_EQ(MannWhitney(low, high), 0.1);
  EXPECT_DOUBLE_EQ(MannWhitney(high, low), 0.1);
  // U = 2 of 2 and 3 values: U takes the values 0 to 6 in 1, 1, 2, 2, 2, 1, 1 of 10 orders.
  const std::vector<double> a = {1, 4}, b = {2, 3, 5};
  EXPECT_DOUBLE_EQ(MannWhitney(a, b), 0.8);
}

TEST(MannWhitney, LeastIsThatOfSetsApart) {
  const std::vector<double> low = {1, 2, 3}, high = {4, 5, 6};
  EXPECT_DOUBLE_EQ(LeastMannWhitney(3, 3), MannWhitney(low, high));
  EXPECT_DOUBLE_EQ(LeastMannWhitney(1, 1), 1);
  EXPECT_DOUBLE_EQ(LeastMannWhitney(5, 5), 2.0 / 252);
}

TEST(MannWhitney, SameSetsAreNoise) {
  const std::vector<double> same(15, 1.0);
  EXPECT_EQ(MannWhitney(same, same), 1);
  std::vector<double> mixed_a, mixed_b;
  for (int i = 0; i < 30; ++i) (i % 2 ? mixed_a : mixed_b).push_back(i);
  EXPECT_GT(MannWhitney(mixed_a, mixed_b), 0.5);
}

TEST(MannWhitney, NormalApproximationAgreesWithTheExactOne) {
  std::vector<double> a, b;
  for (int i = 0; i < 20; ++i) {
    a.push_back(i);
    b.push_back(i + 5.5);
  }
  const double exact = MannWhitney(a, b);
  a.push_back(20);  // over the limit of counting
  EXPECT_NEAR(MannWhitney(a, b), exact, 0.02);
  EXPECT_LT(exact, 0.05);
}

TEST(MannWhitney, TiesAreCorrected) {
  const std::vector<double> a = {1, 1, 2, 2, 2, 3}, b = {2, 3, 3, 3, 4, 4};
  // By hand: U = 4, mean 18,
  // variance 36 / 12 * (13 - (6 + 60 + 60 + 6) / 132) = 36, z = 13.5 / 6.
  EXPECT_NEAR(MannWhitney(a, b), 0.02445, 1e-4);
}

}  // namespace
}  // namespace qwen3vl::bench
