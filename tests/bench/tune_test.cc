// SPDX-License-Identifier: Apache-2.0
// What is measured, who wins, and what becomes of it. Which candidate is fastest is chance where times are
// real; who wins is asserted on made-up rows.
#include "qwen3vl/bench/tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "hw/cpu_info.h"

namespace qwen3vl::bench {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

TuneOptions Small() {
  TuneOptions options;
  options.shapes = ShapesOfPreset("qwen3vl-2b");
  options.tiles = {16, 32};
  options.q_rows = {8, 48};  // 48: more than the heads of the vision tower have
  options.threads = {1, 2};
  options.prompt = 24;
  options.keys = 40;
  options.short_lengths = {4};
  return options;
}

TEST(Tune, MeasuresEveryCandidateAndEndsWithAnEntryAShapeAndThreadCount) {
  MeasureOptions measure;
  measure.samples = 1;
  measure.min_sample_s = 0;
  std::vector<Row> rows;
  const hw::CpuInfo cpu = hw::ProbeCpu();
  const size_t prescribed = hw::ChooseTilePlan({.cpu = cpu}, {}).tile, usual_threads = cpu.default_threads;
  const TuneResult result = RunTune(Small(), measure, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(result.entries.size(), 4u);
  for (const TuningEntry& e : result.entries) {
    EXPECT_EQ(e.key.isa, hw::Name(hw::SelectedIsa()));
    EXPECT_THAT(e.plan.tile, AnyOf(16u, 32u, prescribed));
    EXPECT_THAT(e.plan.q_rows, AnyOf(0u, 8u, e.plan.group == 2 ? 48u : 8u));
    EXPECT_THAT(e.plan.standard_below, AnyOf(0u, 5u));
    EXPECT_EQ(e.plan.group, e.plan.head_dim == 128 ? 2u : 1u);
  }
  EXPECT_EQ(result.entries[0].fastest, result.entries[1].fastest);
  // Decided only where the usual count was among them.
  EXPECT_EQ(result.entries[0].fastest != result.entries[2].fastest, usual_threads <= 2);
  EXPECT_EQ(result.findings.size(), 4u);
  // For each thread count and shape the prescribed plan, two tiles with two numbers of rows at least, and two
  // short ones at least.
  EXPECT_GE(rows.size(), 4u * 7);
  for (const Row& row : rows) {
    EXPECT_LE(row.accuracy.value().rel_norm, 1e-3);  // an f16 cache at most
    EXPECT_THAT(row.command, HasSubstr("qwen3vl bench tune --preset qwen3vl-2b."));
    EXPECT_THAT(row.command, HasSubstr(" --dry-run"));
  }
}

Row Timed(double seconds, double error = 1e-4) {
  Row r;
  r.samples = {seconds};
  r.stats = Summarize(r.samples);
  r.accuracy = Accuracy{0, error, 1, "float64"};
  return r;
}

TEST(BestPlan, IsThePrescribedOneUnlessAnotherIsClearlyFaster) {
  EXPECT_EQ(BestPlan(std::vector{Timed(1), Timed(0.99), Timed(1.5)}), 0u);
  EXPECT_EQ(BestPlan(std::vector{Timed(1), Timed(0.97), Timed(0.9), Timed(0.95)}), 2u);
}

TEST(BestPlan, IsNeverAWrongOne) {
  EXPECT_EQ(BestPlan(std::vector{Timed(1), Timed(0.1, 0.5), Timed(0.1, NAN), Timed(0.9)}), 3u);
  Row unchecked = Timed(0.1);
  unchecked.accuracy.reset();
  EXPECT_EQ(BestPlan(std::vector{Timed(1), unchecked}), 0u);
  // Not even the prescribed one.
  EXPECT_EQ(BestPlan(std::vector{Timed(0.1, NAN), Timed(1), Timed(2)}), 1u);
}

TEST(StandardIsFaster, WantsAMarginAndARightResult) {
  EXPECT_FALSE(StandardIsFaster(Timed(1), Timed(0.96)));
  EXPECT_TRUE(StandardIsFaster(Timed(1), Timed(0.94)));
  EXPECT_FALSE(StandardIsFaster(Timed(1), Timed(0.5, NAN)));
}

TEST(FastestThreads, IsTheUsualCountUnlessAnotherIsClearlyFaster) {
  EXPECT_EQ(FastestThreads({{2, 1.0}, {4, 0.97}}, 2), 2u);
  EXPECT_EQ(FastestThreads({{1, 1.2}, {2, 1.0}, {4, 0.9}}, 2), 4u);
  // Nothing is known where it was not compared.
  EXPECT_EQ(FastestThreads({{2, 1.0}}, 2), std::nullopt);
  EXPECT_EQ(FastestThreads({{1, 1.0}, {4, 0.5}}, 2), std::nullopt);
}

TEST(Tune, StoresTheRuleForRowsWhereThePrescribedPlanWins) {
  TuneOptions options = Small();
  options.tiles = {hw::ChooseTilePlan({.cpu = hw::ProbeCpu()}, {}).tile};
  options.q_rows = {1000};  // more than there are: nothing but the prescribed plan is left
  options.threads = {1};
  MeasureOptions measure;
  measure.samples = 1;
  measure.min_sample_s = 0;
  const TuneResult result = RunTune(options, measure, [](const Row&) {});
  ASSERT_EQ(result.entries.size(), 2u);
  for (const TuningEntry& e : result.entries) {
    EXPECT_EQ(e.plan.tile, options.tiles[0]);
    EXPECT_EQ(e.plan.q_rows, 0u);
    EXPECT_FALSE(e.fastest);
  }
  for (const std::string& line : result.findings) EXPECT_THAT(line, HasSubstr("as prescribed"));
}

TEST(Tune, KnowsTheTowersOfAModel) {
  const std::vector<TuneShape> shapes = ShapesOfModel(QWEN3VL_TINY_MODEL, "");
  ASSERT_EQ(shapes.size(), 2u);
  EXPECT_EQ(shapes[0].attention.n_heads, 16u);
  EXPECT_EQ(shapes[0].attention.n_kv_heads, 4u);
  EXPECT_TRUE(shapes[0].attention.causal);
  EXPECT_EQ(shapes[1].attention.n_heads, shapes[1].attention.n_kv_heads);
  EXPECT_FALSE(shapes[1].attention.causal);
}

}  // namespace
}  // namespace qwen3vl::bench
