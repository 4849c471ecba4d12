// SPDX-License-Identifier: Apache-2.0
// How samples are taken, on variants that count their calls. Nothing has to be fast here: durations are only
// asserted to be as long as what was spun or rested, and no longer than the whole call.
#include "qwen3vl/bench/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/error.h"
#include "support/isa.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kSmallBuffer = 1 << 20;

MeasureOptions Quick() {
  MeasureOptions options;
  options.samples = 4;
  options.min_sample_s = 0;
  return options;
}

Variant Counting(std::string name, std::string* order) {
  Variant v;
  v.row.layer = name;
  v.row.flop = 100;
  v.run = [name, order] { *order += name; };
  v.check = [] { return Accuracy{0.5, 0.25, 1, "itself"}; };
  return v;
}

TEST(Measure, InterleavesVariantsAndRotates) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order), Counting("b", &order)};
  const std::vector<Row> rows = Measure(variants, Quick(), nullptr);
  // One warm-up call each; then each sample is an untimed call and a timed one.
  EXPECT_EQ(order,
            "ab"
            "aabb"
            "bbaa"
            "aabb"
            "bbaa");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].layer, "b");
  EXPECT_EQ(rows[1].samples.size(), 4u);
  EXPECT_EQ(rows[1].accuracy->rel_norm, 0.25);
  EXPECT_FALSE(rows[1].peaks);
}

TEST(Measure, TakesThePeaksBetweenSamples) {
  PeakMeter meter({.threads = 2, .read_bytes = kSmallBuffer, .seconds = 1e-4});
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  const Row row = Measure(variants, Quick(), &meter).front();
  ASSERT_TRUE(row.peaks);
  EXPECT_GT(row.peaks->fma_gflops, 0);
  EXPECT_GE(row.peaks->fma_gflops_best, row.peaks->fma_gflops);
  EXPECT_GT(row.peaks->read_gbs, 0);
  EXPECT_TRUE(row.FmaShare());
  EXPECT_EQ(row.round_peaks.size(), row.samples.size());
  EXPECT_GT(row.round_peaks.front().read_gbs, 0);
  EXPECT_FALSE(row.environment.cpu.empty());
}

TEST(Measure, SustainedModeGoesOnForTheTimeAsked) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  MeasureOptions options = Quick();
  options.samples = 1;
  options.seconds = 0.02;
  EXPECT_GT(Measure(variants, options, nullptr).front().samples.size(), 3u);
}

TEST(Measure, StopsWhenCancelled) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  MeasureOptions options = Quick();
  options.check_cancelled = [&] {
    if (order.size() >= 3) throw Error(ErrorCode::kCancelled, "interrupted");
  };
  EXPECT_THROW(Measure(variants, options, nullptr), Error);
  EXPECT_LE(order.size(), 4u);
}

TEST(Measure, DividesByTheUnitsAndCallsOfASample) {
  using std::chrono::steady_clock;
  Variant v;
  v.units = 4;
  const auto spin = [] {
    for (const auto end = steady_clock::now() + std::chrono::milliseconds(4); steady_clock::now() < end;) {
    }
  };
  v.run = spin;
  MeasureOptions options = Quick();
  options.samples = 2;
  options.min_sample_s = 0.008;
  const auto start = steady_clock::now();
  const Row row = Measure({&v, 1}, options, nullptr).front();
  const double all = std::chrono::duration<double>(steady_clock::now() - start).count();
  EXPECT_GE(row.stats.min, 0.004 / 4);
  EXPECT_GE(row.calls_per_sample, 1u);
  double timed = 0;
  for (const double s : row.samples) timed += s * 4 * static_cast<double>(row.calls_per_sample);
  EXPECT_LT(timed, all);
}

TEST(Measure, WarmsUpAndStopsWhenTheTimeIsOver) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  MeasureOptions options = Quick();
  options.samples = 100;
  options.warmup = 3;
  options.max_variant_s = 0;
  EXPECT_EQ(Measure(variants, options, nullptr).front().samples.size(), kMinSamples);
  EXPECT_EQ(order.size(), 3 + 2 * kMinSamples);
}

TEST(Measure, RestsBeforeEveryRound) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  MeasureOptions options = Quick();
  options.cooldown_s = 0.01;
  const auto start = std::chrono::steady_clock::now();
  Measure(variants, options, nullptr);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(40));
}

// Quiet at first, then as `answers` say, the last of them for ever.
MeasureOptions Watched(std::vector<bool> answers) {
  MeasureOptions options = Quick();
  options.quiet_s = 10;
  options.quiet = [answers, next = size_t{0}]() mutable {
    return answers[std::min(next++, answers.size() - 1)];
  };
  return options;
}

TEST(Measure, CountsSamplesBetweenQuietMomentsOnly) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order), Counting("b", &order)};
  // After the first sample of a it is not quiet, and once more before it is again.
  const std::vector<Row> rows = Measure(variants, Watched({true, false, false, true}), nullptr);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].samples.size(), 4u);
  EXPECT_EQ(rows[0].busy_samples.value().size(), 1u);
  EXPECT_EQ(rows[1].samples.size(), 4u);
  EXPECT_EQ(rows[1].busy_samples.value().size(), 0u);
  EXPECT_EQ(rows[0].stats, Summarize(rows[0].samples));
}

TEST(Measure, LeavesOutWhatHadTooFewQuietSamplesInTime) {
  std::string order, notes;
  std::vector<Variant> variants = {Counting("a", &order), Counting("b", &order)};
  MeasureOptions options = Watched({true, true, false});
  options.quiet_s = 0.05;
  options.note = [&](const std::string& line) { notes += line + "\n"; };
  EXPECT_TRUE(Measure(variants, options, nullptr).empty());
  EXPECT_THAT(notes, testing::HasSubstr("left out: 1 of 1 samples were taken on quiet cores, want 4"));
  EXPECT_THAT(notes, testing::HasSubstr("left out: 0 of 1 samples were taken on quiet cores, want 4"));
}

TEST(Measure, StopsWaitingForQuietWhenCancelled) {
  std::string order;
  std::vector<Variant> variants = {Counting("a", &order)};
  MeasureOptions options = Watched({false});
  options.check_cancelled = [&, calls = 0]() mutable {
    if (++calls > 3) throw Error(ErrorCode::kCancelled, "interrupted");
  };
  EXPECT_THROW(Measure(variants, options, nullptr), Error);
}

size_t AllowedHere(size_t* first) {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 0;
  for (*first = 0; !CPU_ISSET(*first, &mask);) ++*first;
  return static_cast<size_t>(CPU_COUNT(&mask));
}

TEST(Measure, PinsThreadsForAsLongAsItMeasures) {
  size_t first = 0, inside = 0, inside_first = 0;
  const size_t before = AllowedHere(&first);
  ASSERT_GE(before, 1u);
  const size_t cores = hw::ProbeCpu().physical_cores;
  Variant v;
  v.row.threads = 2;
  v.run = [&] { inside = AllowedHere(&inside_first); };
  MeasureOptions options = Quick();
  options.pin = {first};
  const Row row = Measure({&v, 1}, options, nullptr).front();
  EXPECT_EQ(inside, 1u);
  EXPECT_EQ(inside_first, first);
  // What follows is told of the whole machine again.
  EXPECT_EQ(AllowedHere(&first), before);
  EXPECT_EQ(row.environment.physical_cores, cores);
  EXPECT_EQ(hw::ProbeCpu().physical_cores, cores);
}

TEST(Measure, RefusesProcessorsThatAreNotThere) {
  size_t first = 0;
  const size_t before = AllowedHere(&first);
  Variant v;
  v.run = [] {};
  MeasureOptions options = Quick();
  options.pin = {100000};
  EXPECT_THROW(Measure({&v, 1}, options, nullptr), Error);
  EXPECT_EQ(AllowedHere(&first), before);
}

TEST(PeakMeter, MeasuresEveryInstructionSet) {
  test::OnEveryIsa([] {
    PeakMeter meter({.threads = 1, .read_bytes = kSmallBuffer, .seconds = 1e-4});
    EXPECT_GT(meter.FmaGflops(), 0);
    EXPECT_GT(meter.ReadGbs(), 0);
    EXPECT_GT(meter.Undisturbed(), 0);
  });
}

TEST(QuietJudge, ComparesWithTheBestOfThisCore) {
  QuietJudge judge;
  EXPECT_FALSE(judge.IsQuiet(0.8));
  EXPECT_TRUE(judge.IsQuiet(0.95));  // all that a Zen 4 core does
  EXPECT_TRUE(judge.IsQuiet(0.92));
  EXPECT_TRUE(judge.IsQuiet(0.99));
  EXPECT_FALSE(judge.IsQuiet(0.92));
  EXPECT_FALSE(judge.IsQuiet(0));
}

TEST(PeakMeter, LoopsComputeWhatTheySay) {
  test::OnEveryIsa([] {
    alignas(64) float state[kFmaStates];
    for (float& x : state) x = 2;
    const double operations = RunFma(2, state);
    // Two steps of 12 chains: a product and a sum for each value, and no value is left out.
    size_t values = 0;
    for (const float x : state) {
      if (x == 2) continue;
      EXPECT_EQ(x, (2 * 0.5f + 0.5f) * 0.5f + 0.5f);
      ++values;
    }
    EXPECT_EQ(values % 12, 0u);
    EXPECT_GE(values, 12u);
    EXPECT_EQ(operations, 2.0 * 2 * static_cast<double>(values));
    alignas(64) float operands[kLoadedSteps * kLoadedFloats];
    std::ranges::fill(operands, 2.0f);
    float sum = 0;
    EXPECT_EQ(RunLoadedFma(2 * kLoadedSteps, operands, &sum), kLoadedSteps * operations);
    EXPECT_EQ(sum, 2 * 2 * kLoadedSteps * operations / 2);
    const std::vector<float> data(512, 1.0f);
    for (const ReadWay way : {ReadWay::kAskAhead, ReadWay::kPlain}) {
      sum = 0;
      EXPECT_EQ(RunRead(data.data(), data.size(), way, &sum), 2048);
      EXPECT_EQ(sum, 512);
    }
  });
}

}  // namespace
}  // namespace qwen3vl::bench
