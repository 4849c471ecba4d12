// SPDX-License-Identifier: Apache-2.0
#include "hw/tile_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "support/machines.h"

namespace qwen3vl::hw {
namespace {

using test::kGib;
using test::kKib;
using test::kMib;
using testing::HasSubstr;

AttentionProblem Prefill() {
  AttentionProblem problem;
  problem.q_len = problem.kv_len = 2048;
  return problem;
}

struct Case {
  const char* name;
  test::RecordedMachine (*machine)();
  GpuInfo (*gpu)();  // null: on the CPU
  size_t tile;
  const char* reason;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class PrescribedTileTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(
    Machines, PrescribedTileTest,
    testing::Values(
        Case{"i5_10210U", test::LaptopI5_10210U, nullptr, 64, "i5-10210U: prescribed 64"},
        Case{"Xeon", test::CloudXeon, nullptr, 256, "Xeon(R) Processor @ 2.80GHz: prescribed 256"},
        Case{"Ryzen", test::Ryzen5800X, nullptr, 256, "Ryzen 7 5800X 8-Core Processor: prescribed 256"},
        Case{"AlderLake", test::AlderLakeI7_12700, nullptr, 256, "i7-12700: prescribed 256"},
        Case{"GTX1050", test::Ryzen5800X, test::Gtx1050, 128, "GTX 1050: prescribed 128"},
        Case{"MX150", test::LaptopI5_10210U, test::Mx150, 128, "MX150: prescribed 128"},
        Case{"GTX1080", test::Ryzen5800X, test::Gtx1080, 128, "GTX 1080: prescribed 128"},
        Case{"RTX3060", test::LaptopI5_10210U, test::Rtx3060, 256, "RTX 3060: prescribed 256"}),
    [](const auto& p) { return p.param.name; });

TEST_P(PrescribedTileTest, FollowsTheTable) {
  const GpuInfo gpu = GetParam().gpu ? GetParam().gpu() : GpuInfo{};
  const Machine machine{test::Probe(GetParam().machine()), GetParam().gpu ? &gpu : nullptr, 4 * kGib};
  for (const size_t q_len : {1u, 7u, 2048u}) {
    AttentionProblem problem = Prefill();
    problem.q_len = q_len;
    const TilePlan plan = ChooseTilePlan(machine, problem);
    EXPECT_EQ(plan.tile, GetParam().tile);
    EXPECT_THAT(plan.reason, HasSubstr(GetParam().reason));
  }
}

TEST(PrescribedTile, IsThatOfComputeCapability61Alone) {
  GpuInfo gpu = test::Gtx1050();
  for (const int minor : {0, 2}) {
    gpu.compute_minor = minor;
    EXPECT_EQ(ChooseTilePlan({test::Probe(test::Ryzen5800X()), &gpu, 4 * kGib}, Prefill()).tile, 256u);
  }
}

TEST_P(PrescribedTileTest, ScratchStaysInBounds) {
  const CpuInfo cpu = test::Probe(GetParam().machine());
  for (const size_t head_dim : {64u, 72u, 80u, 96u, 128u}) {
    AttentionProblem problem = Prefill();
    problem.head_dim = head_dim;
    const TilePlan plan = ChooseTilePlan({cpu, nullptr, 0}, problem);
    EXPECT_GE(plan.q_rows, 48u) << head_dim;
    EXPECT_LE(plan.q_rows, 1056u) << head_dim;
    EXPECT_EQ(plan.scratch_bytes_per_thread, TileScratchBytes(plan.tile, plan.q_rows, head_dim));
    EXPECT_LE(plan.scratch_bytes_per_thread, std::min(cpu.l2_bytes, kMib)) << head_dim;
  }
}

TEST(TilePlan, ScratchFormulaCountsEveryPart) {
  // 64 x 128 of K and of V, 96 x 128 of q and of the accumulator, 32 a row, 24 x 64 scores, 16 x 128 staging.
  EXPECT_EQ(TileScratchBytes(64, 96, 128), 4u * (2 * 8192 + 2 * 12288 + 32 * 96 + 1536 + 2048));
  EXPECT_EQ(TileScratchBytes(64, 96, 72), TileScratchBytes(64, 96, 80));
}

TEST(TilePlan, SmallCacheAndLargeTileKeepTheLeastRows) {
  CpuInfo cpu;
  cpu.l2_bytes = 256 * kKib;
  AttentionProblem problem = Prefill();
  problem.head_dim = 256;
  const TilePlan plan = ChooseTilePlan({cpu, nullptr, 0}, problem);
  EXPECT_EQ(plan.q_rows, 48u);
  EXPECT_LE(plan.scratch_bytes_per_thread, kMib);
}

TEST(TilePlan, DecodeHasTheRowsOfOneGroup) {
  AttentionProblem problem;
  problem.kv_len = 4096;
  EXPECT_EQ(ChooseTilePlan({}, problem).q_rows, 4u);  // 32 heads on 8 K/V heads
}

TEST(TilePlan, RowsAreEvenedOut) {
  CpuInfo cpu = test::Probe(test::CloudXeon());
  AttentionProblem problem = Prefill();
  problem.q_len = 250;  // 1000 rows a head: 504 + 496 rather than 624 + 376
  EXPECT_EQ(ChooseTilePlan({cpu, nullptr, 0}, problem).q_rows, 504u);
}

TEST(TilePlan, ManyThreadsGetSmallerTasks) {
  CpuInfo cpu = test::Probe(test::CloudXeon());
  AttentionProblem problem = Prefill();
  problem.q_len = 64;  // 256 rows for each of 8 heads
  EXPECT_GT(ChooseTilePlan({cpu, nullptr, 0}, problem, {.threads = 2}).q_rows, 96u);
  EXPECT_EQ(ChooseTilePlan({cpu, nullptr, 0}, problem, {.threads = 16}).q_rows, 48u);
}

TEST(TilePlan, ForcedTileIsKeptButForWholePanels) {
  const Machine machine{test::Probe(test::LaptopI5_10210U()), nullptr, 64 * kKib};
  const auto plan = [&](size_t tile) { return ChooseTilePlan(machine, Prefill(), {.tile = tile}); };
  for (const size_t tile : {16u, 112u, 65536u}) {
    EXPECT_EQ(plan(tile).tile, tile);
    EXPECT_THAT(plan(tile).reason, HasSubstr("tile " + std::to_string(tile) + " as asked"));
    EXPECT_THAT(plan(tile).reason, testing::Not(HasSubstr("rounded")));
  }
  EXPECT_EQ(plan(1).tile, 16u);
  EXPECT_EQ(plan(100).tile, 112u);
  EXPECT_THAT(plan(100).reason, HasSubstr("tile 100 as asked, rounded up to 112"));
  const GpuInfo gpu = test::Gtx1050();
  EXPECT_EQ(ChooseTilePlan({machine.cpu, &gpu, 0}, Prefill(), {.tile = 32}).tile, 32u);
}

TEST(TilePlan, AMeasurementForTheHeadsOfTheProblemReplacesTheTable) {
  const Machine machine{test::Probe(test::LaptopI5_10210U()), nullptr, 0};
  const TunedPlan tuned[] = {{.head_dim = 64, .group = 1, .tile = 512, .q_rows = 48},
                             {.head_dim = 128, .group = 4, .tile = 96, .q_rows = 144, .standard_below = 24}};
  TilePlan plan = ChooseTilePlan(machine, Prefill(), {}, tuned);
  EXPECT_EQ(plan.tile, 96u);
  EXPECT_EQ(plan.q_rows, 144u);
  EXPECT_EQ(plan.standard_below, 24u);
  EXPECT_EQ(plan.reason, "measured on this machine: 96 (i5-10210U: prescribed 64)");
  EXPECT_EQ(plan.scratch_bytes_per_thread, TileScratchBytes(96, 144, 128));
  AttentionProblem step = Prefill();
  step.q_len = 1;
  EXPECT_EQ(ChooseTilePlan(machine, step, {}, tuned).q_rows, 4u);
  AttentionProblem other = Prefill();
  other.n_kv_heads = 4;  // groups of 8
  EXPECT_EQ(ChooseTilePlan(machine, other, {}, tuned).tile, 64u);
  EXPECT_EQ(ChooseTilePlan(machine, Prefill(), {.tile = 32}, tuned).tile, 32u);
  const GpuInfo gpu = test::Gtx1050();
  EXPECT_EQ(ChooseTilePlan({machine.cpu, &gpu, 0}, Prefill(), {}, tuned).tile, 128u);
}

TEST(TilePlan, AMeasuredTileWithoutRowsKeepsTheRuleForThem) {
  const Machine machine{test::Probe(test::CloudXeon()), nullptr, 0};
  const TunedPlan tuned[] = {{.head_dim = 128, .group = 4, .tile = 256}};
  for (const size_t q_len : {1u, 16u, 512u, 1024u, 4096u}) {
    AttentionProblem problem = Prefill();
    problem.q_len = q_len;
    const TilePlan plan = ChooseTilePlan(machine, problem, {}, tuned);
    EXPECT_EQ(plan.tile, 256u);
    EXPECT_EQ(plan.q_rows, ChooseTilePlan(machine, problem).q_rows) << q_len;
    EXPECT_THAT(plan.reason, HasSubstr("measured on this machine: 256"));
  }
}

TEST(TilePlan, AMeasuredPlanShrinksLikeAnyOther) {
  const Machine machine{test::Probe(test::Ryzen5800X()), nullptr, kMib};
  const TunedPlan tuned[] = {{.head_dim = 128, .group = 4, .tile = 512, .q_rows = 192}};
  const TilePlan plan = ChooseTilePlan(machine, Prefill(), {}, tuned);
  EXPECT_LE(plan.threads * plan.scratch_bytes_per_thread, kMib);
  EXPECT_THAT(plan.reason, HasSubstr("shrunk"));
}

TEST(TilePlan, ThreadsAreTheMachinesUnlessAsked) {
  const Machine machine{test::Probe(test::AlderLakeI7_12700()), nullptr, 0};
  EXPECT_EQ(ChooseTilePlan(machine, Prefill()).threads, 8u);
  EXPECT_EQ(ChooseTilePlan(machine, Prefill(), {.threads = 3}).threads, 3u);
  EXPECT_EQ(ChooseTilePlan({}, Prefill()).threads, 1u);
}

TEST(TilePlan, ShrinksUntilTheScratchOfAllThreadsFits) {
  const CpuInfo cpu = test::Probe(test::Ryzen5800X());
  size_t tile_before = 256;
  for (size_t free_bytes = 8 * kMib; free_bytes >= 256 * kKib; free_bytes /= 2) {
    const TilePlan plan = ChooseTilePlan({cpu, nullptr, free_bytes}, Prefill());
    EXPECT_LE(plan.threads * plan.scratch_bytes_per_thread, free_bytes);
    EXPECT_LE(plan.tile, tile_before);
    EXPECT_GE(plan.tile, 16u);
    EXPECT_GE(plan.q_rows, 1u);
    tile_before = plan.tile;
  }
  EXPECT_LT(tile_before, 256u);
}

TEST(TilePlan, ShrinkingIsSaid) {
  const CpuInfo cpu = test::Probe(test::Ryzen5800X());
  EXPECT_THAT(ChooseTilePlan({cpu, nullptr, kMib}, Prefill()).reason,
              testing::AllOf(HasSubstr("shrunk"), HasSubstr("1.0 MiB of free memory")));
  EXPECT_THAT(ChooseTilePlan({cpu, nullptr, kGib}, Prefill()).reason, testing::Not(HasSubstr("shrunk")));
}

TEST(TilePlan, NeverFails) {
  const TilePlan least = ChooseTilePlan({test::Probe(test::Ryzen5800X()), nullptr, 1}, Prefill());
  EXPECT_EQ(least.tile, 16u);
  EXPECT_EQ(least.q_rows, 1u);
  AttentionProblem nothing;
  nothing.q_len = nothing.kv_len = nothing.n_heads = nothing.n_kv_heads = nothing.head_dim = 0;
  EXPECT_GE(ChooseTilePlan({}, nothing).q_rows, 1u);
}

}  // namespace
}  // namespace qwen3vl::hw
