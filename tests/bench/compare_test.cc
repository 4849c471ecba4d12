// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(Compare, PointsAtErrorsThatGrew) {
  Row wrong = Timed("a", 0.1);
  wrong.accuracy->rel_norm = 0.5;
  const ComparisonReport report = Compare({Timed("a", 1)}, {wrong});
  EXPECT_TRUE(report.pairs[0].error_grew);
  EXPECT_THAT(ToText(report), HasSubstr("GREW"));
  EXPECT_THAT(ToJson(report), HasSubstr("\"error_grew\": true"));
}

}  // namespace
}  // namespace qwen3vl::bench
