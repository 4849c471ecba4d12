// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace qwen3vl::bench {
namespace {

using testing::HasSubstr;

// Samples around `seconds`, spread by 1 % of it.
Row Timed(const std::string& layer, double seconds) {
  Row r;
  r.layer = layer;
  for (int i = 0; i < 15; ++i) r.samples.push_back(seconds * (1 + 0.001 * (i * 7 % 15 - 7)));
  r.stats = Summarize(r.samples);
  r.accuracy = Accuracy{0, 1e-7, 1, "float64"};
  return r;
}

TEST(Compare, TellsFasterSlowerAndNoiseApart) {
  const std::vector<Row> before = {Timed("a", 1), Timed("b", 1), Timed("c", 1), Timed("d", 1)};
  const std::vector<Row> after = {Timed("a", 0.5), Timed("b", 1.5), Timed("c", 1.0001), Timed("d", 1.015)};
  const ComparisonReport report = Compare(before, after);
  ASSERT_EQ(report.pairs.size(), 4u);
  EXPECT_EQ(report.pairs[0].verdict, Verdict::kFaster);
  EXPECT_DOUBLE_EQ(report.pairs[0].speedup, 2);
  EXPECT_EQ(report.pairs[1].verdict, Verdict::kSlower);
  EXPECT_EQ(report.pairs[2].verdict, Verdict::kNoise);
  // Certainly different, but by less than two per cent.
  EXPECT_LT(report.pairs[3].p, 0.01);
  EXPECT_EQ(report.pairs[3].verdict, Verdict::kNoise);
  EXPECT_TRUE(report.unmatched.empty());
}

TEST(Compare, MatchesRowsByWhatTheyMeasure) {
  Row other_isa = Timed("a", 1);
  other_isa.isa = "avx2";
  Row tuned = Timed("a", 1);
  tuned.tile = 64;  // how it is measured, not what
  const ComparisonReport report = Compare({Timed("a", 1), Timed("a", 2)}, {tuned, other_isa});
  EXPECT_EQ(report.pairs.size(), 1u);
  ASSERT_EQ(report.unmatched.size(), 2u);
  EXPECT_THAT(report.unmatched[0], HasSubstr("only in the second file: a"));
  EXPECT_THAT(report.unmatched[1], HasSubstr("only in the first file: a"));
}

TEST(Compare, SaysWhereSamplesAreTooFew) {
  const auto with = [](size_t n, double seconds) {
    Row r = Timed("a", seconds);
    r.samples.resize(n);
    return r;
  };
  // As far apart as can be, yet one of 70 orders of 4 and 4 samples is as well; of 5 and 5 one of 252.
  ComparisonReport report = Compare({with(4, 1)}, {with(4, 9)});
  EXPECT_EQ(report.pairs[0].verdict, Verdict::kTooFew);
  EXPECT_THAT(ToText(report), HasSubstr("too few samples"));
  EXPECT_EQ(Compare({with(5, 1)}, {with(5, 9)}).pairs[0].verdict, Verdict::kSlower);
  EXPECT_EQ(Compare({with(4, 1)}, {with(4, 9)}, {.alpha = 0.05}).pairs[0].verdict, Verdict::kSlower);
}

TEST(Compare, SaysWhatElseDiffers) {
  Row there = Timed("a", 1), elsewhere = Timed("a", 1);
  there.environment = {"0.1.0", "Release", "GNU 12", "-O3", "Some CPU", 4};
  elsewhere.environment = {"0.1.0", "Debug", "GNU 12", "-O3", "Another CPU", 8};
  EXPECT_TRUE(Compare({there}, {there}).differences.empty());
  const ComparisonReport report = Compare({there}, {elsewhere});
  EXPECT_THAT(report.differences,
              testing::ElementsAre("cpu: Some CPU in the first file, Another CPU in the second",
                                   "build: Release in the first file, Debug in the second"));
  EXPECT_THAT(ToText(report), HasSubstr("Another CPU"));
  EXPECT_THAT(ToJson(report), HasSubstr("Another CPU"));
  EXPECT_THAT(ToText(Compare({Timed("a", 1)}, {Timed("b", 1)})), HasSubstr("no row is in both files"));
}

TEST(Compare, SaysThatTheCoresWereMoved) {
  Row near = Timed("a", 1), far = near;
  near.round_peaks = {{1, 1, 30}, {1, 1, 170}, {1, 1, 28}};
  far.round_peaks = {{1, 1, 170}, {1, 1, 165}, {1, 1, std::nullopt}};
  EXPECT_THAT(ToText(Compare({near}, {far})),
              HasSubstr("30.0 ns from one thread to another in the first file, 168"));
  EXPECT_THAT(Compare({near}, {near}).differences, testing::IsEmpty());
  far.round_peaks.clear();
  EXPECT_THAT(Compare({near}, {far}).differences, testing::IsEmpty());
}

TEST(Compare, PointsAtResultsThatAreNoNumbers) {
  Row wrong = Timed("a", 0.1), right = Timed("a", 1);
  wrong.accuracy->rel_norm = NAN;
  EXPECT_TRUE(Compare({right}, {wrong}).pairs[0].error_grew);
  EXPECT_TRUE(Compare({wrong}, {wrong}).pairs[0].error_grew);
  EXPECT_FALSE(Compare({wrong}, {right}).pairs[0].error_grew);
}

TEST(Compare, PointsAtErrorsThatGrew) {
  Row wrong = Timed("a", 0.1);
  wrong.accuracy->rel_norm = 0.5;
  const ComparisonReport report = Compare({Timed("a", 1)}, {wrong});
  EXPECT_TRUE(report.pairs[0].error_grew);
  EXPECT_THAT(ToText(report), HasSubstr("GREW"));
  EXPECT_THAT(ToJson(report), HasSubstr("\"error_grew\": true"));
  wrong.accuracy->reference = "another one";
  EXPECT_FALSE(Compare({Timed("a", 1)}, {wrong}).pairs[0].error_grew);
}

}  // namespace
}  // namespace qwen3vl::bench
