// SPDX-License-Identifier: Apache-2.0
// The page is whole, escapes what it is given, and its plots hold the rows' own values.
#include "qwen3vl/bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwen3vl::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Row MakeRow(const std::string& layer, const std::string& path, size_t length, double seconds) {
  Row r;
  r.layer = layer;
  r.preset = "p<1>";
  r.path = path;
  r.dtype = "f32";
  r.isa = "avx2";
  r.length = length;
  r.samples = {seconds};
  r.stats = Summarize(r.samples);
  r.flop = 4e9;
  r.bytes = 1e9;
  r.tokens = 10;
  r.scratch_bytes = 1000 * length;
  r.peaks = Peaks{100, 110, 10, 11};
  r.command = "qwen3vl bench layer --preset \"p<1>\"";
  return r;
}

std::vector<Row> Rows() {
  return {MakeRow("attention.prefill", "cpu_tiled", 128, 1),
          MakeRow("attention.prefill", "cpu_tiled", 256, 2), MakeRow("attention.prefill", "standard", 128, 4),
          MakeRow("attention.decode", "cpu_tiled", 512, 0.5), MakeRow("model.prompt", "cpu_tiled", 0, 5)};
}

TEST(SpeedPlots, HaveALineAPathAndTheUnitOfTheirKind) {
  const std::vector<Plot> plots = SpeedPlots(Rows());
  ASSERT_EQ(plots.size(), 3u);
  ASSERT_EQ(plots[0].series.size(), 3u);  // two paths and the peak
  EXPECT_EQ(plots[0].y_label, "GFLOP/s");
  EXPECT_DOUBLE_EQ(plots[0].series[0].points.at(0).y, 4);
  EXPECT_DOUBLE_EQ(plots[0].series[0].points.at(1).x, 256);
  EXPECT_DOUBLE_EQ(plots[0].series[0].points.at(1).y, 2);
  EXPECT_DOUBLE_EQ(plots[0].series[1].points.at(0).y, 1);
  EXPECT_TRUE(plots[0].series[2].guide);
  EXPECT_DOUBLE_EQ(plots[0].series[2].points.at(0).y, 100);
  EXPECT_EQ(plots[1].y_label, "GB/s");
  EXPECT_DOUBLE_EQ(plots[1].series.at(0).points.at(0).y, 2);
  EXPECT_EQ(plots[2].y_label, "tokens/s");
  EXPECT_DOUBLE_EQ(plots[2].series.at(0).points.at(0).y, 2);
  EXPECT_EQ(plots[2].x_ticks.at(0).second, "0");
  EXPECT_GT(plots[2].x_ticks.at(0).first, 0);  // a logarithm has no place for 0
}

TEST(MemoryPlots, CountInputsOutputAndScratchOfPrompts) {
  const std::vector<Plot> plots = MemoryPlots(Rows());
  ASSERT_EQ(plots.size(), 2u);
  ASSERT_EQ(plots[0].series.size(), 4u);
  EXPECT_DOUBLE_EQ(plots[0].series[0].points.at(1).y, 1e9 + 256000);
  EXPECT_DOUBLE_EQ(plots[1].series[0].points.at(1).y, 256000);
  // Twice the length: twice and four times as much.
  const auto& linear = plots[0].series[2].points;
  const auto& square = plots[0].series[3].points;
  EXPECT_DOUBLE_EQ(linear.at(1).y, 2 * linear.at(0).y);
  EXPECT_DOUBLE_EQ(square.at(1).y, 4 * square.at(0).y);
}

TEST(RooflinePlots, BendWhereBothPeaksMeet) {
  const std::vector<Plot> plots = RooflinePlots(Rows());
  ASSERT_EQ(plots.size(), 1u);
  const PlotSeries& roof = plots[0].series.back();
  ASSERT_EQ(roof.points.size(), 3u);
  EXPECT_DOUBLE_EQ(roof.points[1].x, 10);  // 100 GFLOP/s over 10 GB/s
  EXPECT_DOUBLE_EQ(roof.points[1].y, 100);
  EXPECT_DOUBLE_EQ(roof.points[0].y, 10 * roof.points[0].x);
  EXPECT_DOUBLE_EQ(plots[0].series[0].points.at(0).x, 4);
}

TEST(Report, IsOnePageThatLoadsNothing) {
  const std::string page = RenderReport(Rows());
  EXPECT_THAT(page, testing::StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, testing::EndsWith("</html>\n"));
  for (const char* outer : {"<script", "<link", "<img", "http:", "https:", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outer)));
  EXPECT_THAT(page, HasSubstr("p&lt;1&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("p<1>")));
  EXPECT_THAT(page, HasSubstr("<svg"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("inf")));
}

TEST(Report, DrawsWhatHasNoExtent) {
  Row one = MakeRow("norm", "rms", 8, 1);
  one.peaks.reset();
  one.bytes.reset();
  const std::string page = RenderReport({one});
  EXPECT_THAT(page, HasSubstr("<circle"));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_TRUE(RooflinePlots({one}).empty());
  EXPECT_TRUE(MemoryPlots({one}).empty());
}

}  // namespace
}  // namespace qwen3vl::bench
