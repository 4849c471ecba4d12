// SPDX-License-Identifier: Apache-2.0
// Every preset is a correctness case: its shapes, at a length that a test can afford, against float64.
#include "qwen3vl/bench/layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/linear_case.h"
#include "qwen3vl/error.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/quant.h"
#include "support/isa.h"

namespace qwen3vl::bench {
namespace {

using testing::HasSubstr;

MeasureOptions Once() {
  MeasureOptions options;
  options.samples = 1;
  options.min_sample_s = 0;
  options.max_variant_s = 0;
  return options;
}

std::vector<Row> Rows(const LayerOptions& options) {
  std::vector<Row> rows;
  RunLayers(options, Once(), nullptr, [&](const Row& row) { rows.push_back(row); });
  return rows;
}

// The largest relative error in norm of a path on this storage, against float64 on float32 inputs: rounding
// of sums for f32; 2^-11 relative steps for f16, 2^-8 for bf16, 1/254 of the largest of 32 for q8_0, which
// averaging over keys does not increase.
double KvTolerance(const std::string& dtype) {
  if (dtype.starts_with("f32")) return 2e-6;
  if (dtype.starts_with("f16")) return 1e-3;
  return 1e-2;
}

class PresetTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, PresetTest,
                         testing::Values("qwen3vl-2b", "qwen3vl-4b", "qwen3vl-8b", "qwen3vl-32b",
                                         "qwen3vl-30b-a3b", "gpt2", "esm2-650m", "unet3d", "manipulation"),
                         [](const auto& p) {
                           std::string name = p.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_P(PresetTest, AttentionMatchesFloat64OnEveryPath) {
  test::OnEveryIsa([] {
    LayerOptions options;
    options.presets = {GetParam()};
    options.kinds = {"attention"};
    options.lengths = {37};  // not a multiple of any block
    options.contexts = {65};
    options.cold = false;
    options.check_rows = 40;
    options.formats = {hw::Format::kF32, hw::Format::kF16};
    options.threads = 1;
    options.paths = {AttentionForm::kTiled, AttentionForm::kInt16};
    // The standard path has one form for all.
    if (hw::SelectedIsa() == hw::AvailableIsas().back()) options.paths.push_back(AttentionForm::kStandard);
    const std::vector<Row> rows = Rows(options);
    EXPECT_GE(rows.size(), 2u);
    size_t in_whole_numbers = 0;
    for (const Row& row : rows) {
      ASSERT_TRUE(row.accuracy);
      const bool int16 = row.path == "cpu_tiled, int16 products";
      in_whole_numbers += int16;
      // Codes of 16 bits: see tests/attention/attention_test.cc.
      EXPECT_LE(row.accuracy->rel_norm, std::max(KvTolerance(row.dtype), int16 ? 3e-4 : 0))
          << row.path << " " << row.command << " " << row.isa;
    }
    EXPECT_GT(in_whole_numbers, 0u);
  });
}

TEST_P(PresetTest, RowWisePartsMatchFloat64) {
  LayerOptions options;
  options.presets = {GetParam()};
  options.kinds = {"rope", "norm"};
  options.tokens = {5};
  options.threads = 1;
  for (const Row& row : Rows(options)) {
    ASSERT_TRUE(row.accuracy);
    EXPECT_LE(row.accuracy->rel_norm, 1e-6) << row.command;  // float32 rounding of a handful of operations
  }
}

TEST(Layer, ProductsMatchFloat64InEveryFormat) {
  LayerOptions options;
  options.presets = {"qwen3vl-2b.text"};
  options.kinds = {"linear.kv"};
  options.tokens = {1, 7};
  options.cold = false;
  options.formats = {hw::Format::kF32,  hw::Format::kF16,  hw::Format::kBF16, hw::Format::kQ8_0,
                     hw::Format::kQ4_0, hw::Format::kQ4_K, hw::Format::kQ6_K};
  const std::vector<Row> rows = Rows(options);
  const size_t interleaved = HasInterleavedProducts() ? 6 : 0;  // Q4_0, Q4_K and Q6_K once more
  EXPECT_EQ(rows.size(), 14 + interleaved);
  for (const Row& row : rows) {
    // Activations rounded to 1/254 of the largest of a block; float formats only round sums.
    const double tolerance = row.dtype.starts_with("q") ? 2e-2 : 2e-6;
    EXPECT_LE(row.accuracy->rel_norm, tolerance) << row.command;
    EXPECT_GT(row.accuracy->checked, 0u);
  }
}

TEST(Layer, ProductsInWholeNumbersAreRowsOfTheirOwn) {
  LayerOptions options;
  options.presets = {"qwen3vl-2b.text"};
  options.kinds = {"linear.kv"};
  options.tokens = {20};
  options.formats = {hw::Format::kF32, hw::Format::kF16, hw::Format::kQ8_0};
  const std::vector<Row> rows = Rows(options);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].path, "fast");
  EXPECT_EQ(rows[1].path, "fast");
  EXPECT_EQ(rows[2].path, "int16");
  EXPECT_EQ(rows[2].dtype, "f16");
  EXPECT_LE(rows[1].accuracy->rel_norm, 2e-6);
  EXPECT_LE(rows[2].accuracy->rel_norm, 3e-4);  // codes of 512 values: see tests/qwen3vl/linear_test.cc
  EXPECT_GT(rows[2].accuracy->rel_norm, 2e-6);
  EXPECT_EQ(rows[3].dtype, "q8_0");
  options.paths = {AttentionForm::kInt16};
  EXPECT_EQ(Rows(options).size(), 5u);  // f32 too
  options.paths = {AttentionForm::kTiled};
  EXPECT_EQ(Rows(options).size(), 3u);
}

TEST(Layer, AttentionInWholeNumbersIsARowWhereSessionsHaveItByDefault) {
  LayerOptions options;
  options.presets = {"qwen3vl-2b.text"};
  options.kinds = {"attention.prefill"};
  options.lengths = {20};
  options.formats = {hw::Format::kF32, hw::Format::kF16};
  std::vector<std::string> found;
  for (const Row& row : Rows(options)) found.push_back(row.dtype + ": " + row.path);
  EXPECT_THAT(found, testing::ElementsAre("f32: cpu_tiled", "f32: standard", "f16 cache: cpu_tiled",
                                          "f16 cache: standard", "f16 cache: cpu_tiled, int16 products"));
}

TEST(Layer, AWrongResultShowsInTheErrorColumn) {
  const Preset& preset = *FindPresets("gpt2").front();
  AttentionProblem problem{.shape = preset.attention, .q_len = 20, .kv_len = 20};
  AttentionData data(problem);
  // Nothing has run: the output is zero, so all of the reference is missing.
  EXPECT_DOUBLE_EQ(data.Check(20).rel_norm, 1);
  // What was right before must not pass for the result of a run that writes nothing.
  data.ForgetOutput();
  EXPECT_TRUE(std::isnan(data.Check(20).rel_norm));
  data.Run(0, AttentionForm::kTiled, PlanFor(problem, {}));
  EXPECT_LT(data.Check(20).rel_norm, 2e-6);
}

TEST(Layer, CountsWorkByFormula) {
  AttentionProblem p{
      .shape = {.n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .causal = true}, .q_len = 3, .kv_len = 5};
  // Rows see 3, 4 and 5 keys.
  EXPECT_EQ(AttentionFlop(p), 4.0 * 12 * 4 * 8);
  // q and out: 3 x 4 x 8 floats each; k and v: 5 x 2 x 8 floats each.
  EXPECT_EQ(AttentionBytes(p), 4.0 * (2 * 96 + 2 * 80));
  p.shape.causal = false;
  EXPECT_EQ(AttentionFlop(p), 4.0 * 15 * 4 * 8);
  p.shape.padded = true;
  p.shape.batch = 2;  // lengths 5 and 1
  EXPECT_EQ(AttentionFlop(p), 4.0 * 3 * (5 + 1) * 4 * 8);
  p.kv_format = hw::Format::kF16;
  EXPECT_EQ(AttentionBytes(p), 2.0 * 2 * 6 * 16 + 4.0 * 2 * 192);
}

TEST(Layer, WeightsTakeMemoryBySquareAndTiledDoesNot) {
  LayerOptions options;
  options.presets = {"gpt2"};
  options.kinds = {"attention.prefill"};
  options.lengths = {300, 600};  // both longer than a tile
  options.formats = {hw::Format::kF32};
  options.paths = {AttentionForm::kTiled, AttentionForm::kStandard, AttentionForm::kWeights};
  options.threads = 1;
  const std::vector<Row> rows = Rows(options);
  ASSERT_EQ(rows.size(), 6u);
  // One thread's, whatever the length: the plan's own bound.
  for (const size_t tiled : {0, 3}) EXPECT_LE(*rows[tiled].scratch_bytes, size_t{1} << 20);
  EXPECT_LT(*rows[4].scratch_bytes, 2 * *rows[1].scratch_bytes);
  // The weights alone: 12 heads, float32.
  EXPECT_EQ(*rows[2].scratch_bytes - *rows[1].scratch_bytes, 12u * 300 * 300 * 4);
  EXPECT_EQ(*rows[5].scratch_bytes - *rows[4].scratch_bytes, 12u * 600 * 600 * 4);
  EXPECT_EQ(rows[2].path, "standard with weights");
  EXPECT_LE(rows[2].accuracy->rel_norm, 2e-6);
}

TEST(Layer, RowsCarryTheCommandThatRepeatsThem) {
  LayerOptions options;
  options.presets = {"gpt2"};
  options.kinds = {"attention.prefill"};
  options.lengths = {16};
  options.formats = {hw::Format::kF32};
  options.paths = {AttentionForm::kStandard};
  options.threads = 1;
  options.tile = 32;
  options.command_tail = " --isa avx2";
  const std::vector<Row> rows = Rows(options);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(
      rows[0].command,
      "qwen3vl bench layer --preset gpt2 --kind attention.prefill --lengths 16 --dtype f32 --path standard "
      "--tile 32 --threads 1 --isa avx2");
  EXPECT_EQ(rows[0].path, "standard");
}

TEST(Layer, NamesTheOptionsThatTheCommandNeeds) {
  LayerOptions options;
  options.presets = {"gpt2"};
  options.kinds = {"attention.prefill"};
  options.lengths = {16};
  options.formats = {hw::Format::kF32};
  options.paths = {AttentionForm::kStandard};
  options.threads = 1;
  options.use_tuning = false;
  options.q_rows = 500;
  options.check_rows = 3;
  options.max_standard_flop = 1e12;
  const std::vector<Row> rows = Rows(options);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_THAT(rows[0].command,
              HasSubstr(" --tile prescribed --q-rows 500 --check-rows 3 --max-standard 1000 --threads 1"));
  options.paths = {AttentionForm::kTiled};
  EXPECT_EQ(Rows(options).at(0).q_rows, 16u);  // that run
}

TEST(Layer, LeavesOutWhatDoesNotFitAndMeasuresTheRest) {
  LayerOptions options;
  options.presets = {"qwen3vl-8b.vision", "manipulation"};
  options.kinds = {"attention.prefill"};
  options.lengths = {1};
  options.formats = {hw::Format::kQ8_0, hw::Format::kF32};  // 72 values a head are no whole blocks
  options.paths = {AttentionForm::kTiled};
  options.threads = 1;
  std::vector<std::string> notes;
  MeasureOptions measure = Once();
  measure.note = [&](const std::string& line) { notes.push_back(line); };
  std::vector<Row> rows;
  RunLayers(options, measure, nullptr, [&](const Row& row) { rows.push_back(row); });
  std::vector<std::string> found;
  for (const Row& row : rows) found.push_back(row.preset + " " + row.dtype);
  EXPECT_THAT(
      found, testing::UnorderedElementsAre("qwen3vl-8b.vision f32", "manipulation q8_0", "manipulation f32"));
  EXPECT_THAT(notes, testing::Contains(testing::AllOf(HasSubstr("qwen3vl-8b.vision"), HasSubstr("q8_0"),
                                                      HasSubstr("left out"))));
}

TEST(CopiesBeyondCache, AreTogetherLargerThanTheCacheAsFarAsMemoryGoes) {
  hw::CpuInfo cpu;
  cpu.l3_bytes = 1000;
  cpu.memory_available_bytes = 0;  // unknown
  EXPECT_GT(100 * CopiesBeyondCache(100, cpu), kCachesBeyond * cpu.l3_bytes);
  cpu.memory_available_bytes = 1 << 20;
  EXPECT_GT(100 * CopiesBeyondCache(100, cpu), kCachesBeyond * cpu.l3_bytes);
  cpu.memory_available_bytes = 2000;
  EXPECT_EQ(CopiesBeyondCache(100, cpu), 5u);
  cpu.memory_available_bytes = 4;
  EXPECT_EQ(CopiesBeyondCache(100, cpu), 1u);
}

TEST(Layer, RefusesWhatIsUnknown) {
  LayerOptions options;
  options.presets = {"gpt5"};
  try {
    Rows(options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("gpt5"));
    EXPECT_THAT(e.what(), HasSubstr("qwen3vl-2b.text"));
  }
  options.presets = {"unet3d"};
  options.kinds = {"attention.decode"};  // not causal
  EXPECT_THROW(Rows(options), Error);
}

TEST(RandomWeights, DifferFromRowsPowersOfTwoAway) {
  const size_t n_rows = 600, cols = 64, row_bytes = hw::RowBytes(hw::Format::kF16, cols);
  const auto weights = RandomWeights(hw::Format::kF16, n_rows, cols, 7);
  for (size_t away = 1; away < n_rows; away *= 2)
    EXPECT_NE(std::memcmp(weights.data(), weights.data() + away * row_bytes, row_bytes), 0) << away;
}

TEST(RandomWeights, AreFiniteInEveryFormat) {
  for (size_t f = 0; f < hw::kFormatCount; ++f) {
    const auto format = static_cast<hw::Format>(f);
    if (format == hw::Format::kMXFP4) continue;  // its scale is not an F16
    const auto weights = RandomWeights(format, 3, 512, 7);
    std::vector<float> row(512);
    for (size_t r = 0; r < 3; ++r) {
      DequantizeRow(format, weights.data() + r * hw::RowBytes(format, 512), 512, row.data());
      double norm = 0;
      for (const float x : row) norm += static_cast<double>(x) * x;
      EXPECT_GT(norm, 0) << hw::Name(format);
      EXPECT_LT(norm, 512) << hw::Name(format);
    }
  }
}

}  // namespace
}  // namespace qwen3vl::bench
