// SPDX-License-Identifier: Apache-2.0
// Whole models, on the tiny one that the project ships.
#include "qwen3vl/bench/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qwen3vl/bench/model_rows.h"
#include "qwen3vl/error.h"
#include "support/expect_error.h"

namespace qwen3vl::bench {
namespace {

using testing::StartsWith;

// Of logits, relative in the norm. Keys and values in F16 may cost 1e-3 in a layer (Tolerances in
// tests/data/README.md), of which the model has two; 16-bit products of its BF16 weights are about as fine.
constexpr double kTwoLayersInF16 = 2 * 1e-3;

MeasureOptions Twice() {
  MeasureOptions options;
  options.samples = 2;
  return options;
}

TEST(BenchModel, MeasuresPromptAndGenerationAtEveryDepth) {
  ModelOptionsBench options;
  options.model = QWEN3VL_TINY_MODEL;
  options.session.threads = 1;
  options.prompt_tokens = 12;
  options.generate_tokens = 3;
  options.depths = {0, 80};
  options.session.tile = 64;
  std::vector<Row> rows;
  RunModel(options, Twice(), nullptr, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 4u);
  const char* layers[] = {"model.prompt", "model.generate", "model.prompt", "model.generate"};
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].layer, layers[i]);
    EXPECT_EQ(rows[i].length, i < 2 ? 0u : 80u);
    EXPECT_EQ(rows[i].samples.size(), 2u);
    EXPECT_GT(rows[i].flop.value(), 0);
    EXPECT_GT(rows[i].bytes.value(), 0);
    EXPECT_THAT(rows[i].path, StartsWith("cpu_tiled"));
    EXPECT_EQ(rows[i].tile, i < 2 ? 16u : 64u);
    EXPECT_EQ(rows[i].plan, i < 2 ? "tile 64 as asked; 16 hold all keys" : "tile 64 as asked");
    // The weights are not quantised: the cache is rounded, to F16, and products of many rows to 16 bits.
    EXPECT_GT(rows[i].accuracy.value().checked, 100u);
    EXPECT_GT(rows[i].accuracy->rel_norm, 1e-6);
    EXPECT_LE(rows[i].accuracy->rel_norm, kTwoLayersInF16);
  }
}

TEST(BenchModel, SaysAnAnswerWordForWordWithAndWithoutGuesses) {
  ModelOptionsBench options;
  options.model = QWEN3VL_TINY_MODEL;
  options.session.threads = 1;
  options.prompt_tokens = options.generate_tokens = 0;
  options.depths = {0, 30};
  options.answers = {
      {.path = "a.json", .name = "song", .prompt = "Sing.", .answer = "la la la la la la la la li"}};
  std::vector<Row> rows;
  RunModel(options, Twice(), nullptr, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 4u);
  const size_t tokens = Model::Load(QWEN3VL_TINY_MODEL).Encode(options.answers[0].answer).size();
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].layer, "model.answer song");
    EXPECT_EQ(rows[i].tokens, tokens - 1);  // the first comes with the prompt
    EXPECT_EQ(rows[i].samples.size(), 2u);
    EXPECT_EQ(rows[i].length, i < 2 ? 0u : 30u);
    EXPECT_EQ(rows[i].shape.back(), (std::pair<std::string, size_t>{"draft", i % 2 == 0 ? 0 : 3}));
    EXPECT_THAT(rows[i].command, testing::EndsWith("--answer a.json"));
  }
  options.answers[0].answer = "";
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "a.json: 0 tokens after a prompt of",
               RunModel(options, Twice(), nullptr, [](const Row&) {}));
}

// Standard attention is not its own judge.
TEST(BenchModel, TheErrorIsThatOfTheWholeModel) {
  ModelOptionsBench options;
  options.model = QWEN3VL_TINY_MODEL;
  options.session.threads = 1;
  options.session.attention = AttentionChoice::kStandard;
  options.session.kv_type = KvType::kQ8_0;
  options.prompt_tokens = 4;
  options.generate_tokens = 0;
  options.depths = {0};
  std::vector<Row> rows;
  RunModel(options, Twice(), nullptr, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_GT(rows[0].accuracy.value().rel_norm, 1e-4);
  EXPECT_EQ(rows[0].tile, 0u);
  EXPECT_EQ(rows[0].path, "standard");
}

TEST(BenchImage, MeasuresEveryStage) {
  ImageOptionsBench options;
  options.model = QWEN3VL_TINY_MODEL;
  options.session.threads = 1;
  options.session.max_image_tokens = 64;
  options.sizes = {{64, 96}};
  options.counts = {1, 2};
  std::vector<Row> rows;
  RunImage(options, Twice(), nullptr, [&](const Row& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 8u);
  EXPECT_EQ(rows[4].layer, "image.preprocess");
  EXPECT_EQ(rows[5].layer, "image.encode");
  EXPECT_EQ(rows[6].layer, "image.prefill");
  EXPECT_EQ(rows[7].layer, "image.first_token");
  EXPECT_EQ(rows[4].tokens.value(), 2 * rows[0].tokens.value());
  EXPECT_FALSE(rows[4].accuracy.has_value());
  for (const size_t i : {5, 6}) {
    EXPECT_LE(rows[i].accuracy.value().rel_norm, kTwoLayersInF16);
    EXPECT_GT(rows[i].tile, 0u);
  }
  EXPECT_EQ(rows[5].bytes.value(), 2 * rows[1].bytes.value());
  EXPECT_GT(rows[6].bytes.value(), rows[2].bytes.value());  // more keys and values
  // Encoded anew each time, or the second sample would be free.
  for (const double seconds : rows[5].samples) EXPECT_GT(seconds, 0);
  // The time to the first token contains the others, in every sample.
  for (size_t i = 0; i < rows[7].samples.size(); ++i)
    EXPECT_GE(rows[7].samples[i], rows[4].samples[i] + rows[5].samples[i] + rows[6].samples[i]);
}

TEST(BenchImage, RefusesASizeBeforeItMeasuresOthers) {
  ImageOptionsBench options;
  options.model = QWEN3VL_TINY_MODEL;
  options.sizes = {{64, 64}, {4000, 4}};
  size_t rows = 0;
  EXPECT_THROW(RunImage(options, Twice(), nullptr, [&](const Row&) { ++rows; }), Error);
  EXPECT_EQ(rows, 0u);
}

TEST(StepWeightBytes, CountsWhatTokensMeet) {
  const auto tensor = [](const char* name, size_t bytes) {
    return TensorEntry{.name = name, .file = {}, .format = hw::Format::kF16, .shape = {}, .bytes = bytes};
  };
  ModelFiles files;
  files.tensors = {tensor("token_embd.weight", 1000),
                   tensor("blk.0.attn_q.weight", 200),
                   tensor("blk.0.ffn_up_exps.weight", 800),
                   tensor("v.patch_embd.weight", 77),
                   tensor("mm.0.weight", 77),
                   tensor("model.visual.blocks.0.mlp.weight", 77)};
  // Few rows of the embedding are looked up; where it is the output matrix too, all of it is read.
  EXPECT_EQ(StepWeightBytes(files, 1), 1000);
  files.config.text.tied_embeddings = true;
  EXPECT_EQ(StepWeightBytes(files, 1), 2000);
  EXPECT_EQ(StepWeightBytes(files, 100), 2000);
  files.config.text.n_experts = 8;
  files.config.text.n_experts_used = 2;
  EXPECT_EQ(StepWeightBytes(files, 1), 1200 + 800 * 2.0 / 8);
  // Two tokens: the chance that both miss an expert is 0.75 squared.
  EXPECT_DOUBLE_EQ(StepWeightBytes(files, 2), 1200 + 800 * (1 - 0.75 * 0.75));
  EXPECT_NEAR(StepWeightBytes(files, 512), 2000, 1e-6);
}

TEST(BenchModel, CountsWorkByFormula) {
  TextConfig t;
  t.n_layers = 2;
  t.dim = 8;
  t.n_heads = 2;
  t.n_kv_heads = 1;
  t.head_dim = 4;
  t.ffn_dim = 16;
  t.vocab_size = 10;
  // A layer: q and o 8 x 8 each, k and v 4 x 8 each, three of 16 x 8; keys seen: 5 + 1 + 5 + 2.
  EXPECT_EQ(TextFlop(t, 2, 5, 1), 2 * (2 * 2 * (64 + 64 + 32 + 32 + 3 * 128) + 4 * 8 * 13) + 2 * 8 * 10);
  VisionConfig v;
  v.dim = 4;
  v.n_layers = 2;
  v.ffn_dim = 6;
  v.out_dim = 5;
  v.patch_size = 2;
  v.deepstack_layers = {0};
  // 8 patches of 24 values; a block: qkv and projection 4 x 4 x 4, two of 6 x 4; mergers 16 x 16 and 5 x 16.
  EXPECT_EQ(VisionFlop(v, 2),
            2 * 8 * 4 * 24 + 2 * (2 * 8 * (64 + 48) + 4 * 4 * 64) + 2 * (2 * 2 * (256 + 80)));
  EXPECT_EQ(KvBytes(t, KvType::kF16, 7), 2.0 * 2 * 7 * 4 * 2);
}

TEST(BenchModel, RefusesWhatIsNotThere) {
  ModelOptionsBench options;
  options.model = "/no/such/model";
  EXPECT_THROW(RunModel(options, Twice(), nullptr, [](const Row&) {}), Error);
}

}  // namespace
}  // namespace qwen3vl::bench
