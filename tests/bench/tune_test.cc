// SPDX-License-Identifier: Apache-2.0
// What is measured and what becomes of it. Which candidate wins is chance here, and not asserted.
#include "qwen3vl/bench/tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hw/cpu_info.h"

namespace qwen3vl::bench {
namespace {

using testing::AnyOf;

TuneOptions Small() {
  TuneOptions options;
  options.shapes = ShapesOfPreset("qwen3vl-2b");
  options.tiles = {16, 32};
  options.q_rows = {48};
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
  const TuneResult result = RunTune(Small(), measure, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(result.entries.size(), 4u);
  for (const TuningEntry& e : result.entries) {
    EXPECT_EQ(e.key.isa, hw::Name(hw::SelectedIsa()));
    EXPECT_THAT(e.plan.tile, AnyOf(16u, 32u, 256u));  // a candidate, or as prescribed
    EXPECT_THAT(e.plan.standard_below, AnyOf(0u, 5u));
    EXPECT_EQ(e.plan.group, e.plan.head_dim == 128 ? 2u : 1u);
  }
  EXPECT_EQ(result.entries[0].fastest, result.entries[1].fastest);
  EXPECT_NE(result.entries[0].fastest, result.entries[2].fastest);
  EXPECT_EQ(result.findings.size(), 4u);
  // For each thread count and shape the prescribed plan and two candidates, and at least two short ones.
  EXPECT_GE(rows.size(), 4u * 5);
  for (const Row& row : rows) EXPECT_LE(row.accuracy.value().rel_norm, 1e-3);  // an f16 cache at most
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
