// SPDX-License-Identifier: Apache-2.0
// How samples are taken, on variants that count their calls. No duration is asserted.
#include "qwen3vl/bench/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hw/cpu_info.h"
#include "qwen3vl/error.h"

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

TEST(Measure, RefusesProcessorsThatAreNotThere) {
  Variant v;
  v.run = [] {};
  MeasureOptions options = Quick();
  options.pin = {100000};
  EXPECT_THROW(Measure({&v, 1}, options, nullptr), Error);
}

TEST(PeakMeter, MeasuresEveryInstructionSet) {
  for (const hw::Isa isa : hw::AvailableIsas()) {
    hw::SelectIsa(isa);
    PeakMeter meter({.threads = 1, .read_bytes = kSmallBuffer, .seconds = 1e-4});
    EXPECT_GT(meter.FmaGflops(), 0) << hw::Name(isa);
    EXPECT_GT(meter.ReadGbs(), 0) << hw::Name(isa);
  }
  hw::SelectIsa("auto");
}

TEST(PeakMeter, LoopsComputeWhatTheySay) {
  for (const hw::Isa isa : hw::AvailableIsas()) {
    hw::SelectIsa(isa);
    alignas(64) float state[kFmaStates];
    for (float& x : state) x = 2;
    EXPECT_GE(RunFma(2, state), 2 * 2 * 12) << hw::Name(isa);
    EXPECT_EQ(state[0], (2 * 0.5f + 0.5f) * 0.5f + 0.5f);
    const std::vector<float> data(512, 1.0f);
    float sum = 0;
    EXPECT_EQ(RunRead(data.data(), data.size(), &sum), 2048);
    EXPECT_EQ(sum, 512);
  }
  hw::SelectIsa("auto");
}

}  // namespace
}  // namespace qwen3vl::bench
