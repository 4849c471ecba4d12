// SPDX-License-Identifier: Apache-2.0
// What GGUF metadata may say and what it may not, on models of one layer that differ in one thing.
#include <gtest/gtest.h>

#include <cstring>

#include "qwen3vl/weights.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "support/tiny_gguf.h"

namespace qwen3vl {
namespace {

using test::GgufWriter;
using test::TinyText;
using test::TinyVision;

float At(const Weight& w, size_t row, size_t col) {
  float value;
  std::memcpy(&value, w.row(row) + col * sizeof value, sizeof value);
  return value;
}

class GgufConfigTest : public testing::Test {
 protected:
  ModelFiles Load(const GgufWriter& text) const {
    return LoadModelFiles(dir_.Write("text.gguf", text.File()));
  }
  ModelFiles Load(const GgufWriter& text, const GgufWriter& vision) const {
    const std::string mmproj = dir_.Write("vision.gguf", vision.File());
    return LoadModelFiles(dir_.Write("text.gguf", text.File()), {.mmproj = mmproj});
  }
  void ExpectCorrupt(const std::string& text, const GgufWriter& file) const {
    EXPECT_ERROR(ErrorCode::kCorruptFile, text, Load(file));
  }
  const test::TempDir dir_;
};

// A writer that leaves these out of what follows.
GgufWriter Without(const std::string& name) { return GgufWriter().Skip(name); }

TEST_F(GgufConfigTest, SmallestModelLoads) {
  const ModelFiles m = Load(TinyText(), TinyVision());
  EXPECT_TRUE(m.warnings.empty()) << m.warnings[0];
  EXPECT_EQ(m.config.text.vocab_size, 9u);
  EXPECT_EQ(m.config.name, "text");
  EXPECT_EQ(m.config.sampling.stop_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ(m.config.ids.image_pad, 4);
  EXPECT_EQ(m.config.vision->n_positions, 4u);
  EXPECT_EQ(m.config.vision->temporal_patch_size, 2u);
}

// Column (channel * 2 + frame) * 4 + y * 2 + x of the joined filter; the files count upwards from 0 and 1000.
TEST_F(GgufConfigTest, PatchFiltersAreJoined) {
  const ModelFiles m = Load(TinyText(), TinyVision());
  ASSERT_EQ(m.vision.patch_embed.cols, 24u);
  for (size_t row = 0; row < 8; ++row)
    for (size_t channel = 0; channel < 3; ++channel)
      for (size_t frame = 0; frame < 2; ++frame)
        for (size_t i = 0; i < 4; ++i)
          EXPECT_EQ(At(m.vision.patch_embed, row, (channel * 2 + frame) * 4 + i),
                    static_cast<float>(frame * 1000 + (row * 3 + channel) * 4 + i));
}

GgufWriter TinyMoe() {
  GgufWriter w = GgufWriter().Str("general.architecture", "qwen3vlmoe").Skip("general.architecture");
  w.U32("qwen3vlmoe.expert_count", 2).U32("qwen3vlmoe.expert_used_count", 1);
  w.U32("qwen3vlmoe.expert_feed_forward_length", 4).U32("qwen3vlmoe.block_count", 1);
  w.U32("qwen3vlmoe.embedding_length", 8).U32("qwen3vlmoe.context_length", 64);
  w.U32("qwen3vlmoe.attention.head_count", 2).U32("qwen3vlmoe.attention.head_count_kv", 1);
  w.U32("qwen3vlmoe.attention.key_length", 4).F32("qwen3vlmoe.attention.layer_norm_rms_epsilon", 1e-6f);
  w.F32("qwen3vlmoe.rope.freq_base", 5e6f).Ints("qwen3vlmoe.rope.dimension_sections", {1, 1, 0, 0});
  w.Tensor("blk.0.ffn_gate_inp.weight", {8, 2}, 0, test::CountingFloats(16));
  w.Tensor("blk.0.ffn_gate_up_exps.weight", {8, 8, 2}, 0, test::CountingFloats(128));
  w.Tensor("blk.0.ffn_down_exps.weight", {4, 8, 2}, 0, test::CountingFloats(64));
  for (const char* name : {"gate", "up", "down"}) w.Skip(std::string("blk.0.ffn_") + name + ".weight");
  return TinyText(w);
}

// Gate rows, then up rows, in the matrix of every expert.
TEST_F(GgufConfigTest, FusedExpertsAreSplitIntoViews) {
  const ModelFiles m = Load(TinyMoe());
  const TextLayerWeights& l = m.text.layers[0];
  ASSERT_EQ(l.expert_up.size(), 2u);
  EXPECT_EQ(l.expert_gate[1].rows, 4u);
  EXPECT_EQ(At(l.expert_gate[0], 0, 0), 0);
  EXPECT_EQ(At(l.expert_up[0], 0, 0), 32);
  EXPECT_EQ(At(l.expert_gate[1], 1, 2), 64 + 8 + 2);
  EXPECT_EQ(At(l.expert_up[1], 3, 7), 127);
  EXPECT_EQ(At(l.expert_down[1], 0, 0), 32);
}

TEST_F(GgufConfigTest, OddThingsWarn) {
  const auto warning = [](const ModelFiles& m) {
    return m.warnings.size() == 1 ? m.warnings[0] : "not one warning";
  };
  using testing::HasSubstr;
  EXPECT_THAT(warning(Load(TinyText(), TinyVision(Without("clip.vision.image_mean"))
                                           .Floats("clip.vision.image_mean", {0.4815f, 0.4578f, 0.4082f}))),
              HasSubstr("converted without preprocessor_config.json"));
  EXPECT_THAT(warning(Load(TinyText().Tensor("rope_freqs.weight", {2}, 0, "12345678"))),
              HasSubstr("1 tensors are not used, the first is \"rope_freqs.weight\""));
  EXPECT_THAT(warning(Load(TinyText(Without("tokenizer.ggml.pre")).Str("tokenizer.ggml.pre", "llama-bpe"))),
              HasSubstr("tokenizer.ggml.pre is \"llama-bpe\""));
  EXPECT_THAT(warning(LoadModelFiles(dir_.Write("text.gguf", TinyText().File() + std::string(99, 'x')))),
              HasSubstr("99 bytes after the last tensor"));
}

TEST_F(GgufConfigTest, VisionEpsilonIsTheReferenceConstant) {
  const ModelFiles m = Load(TinyText(), TinyVision().F32("clip.vision.attention.layer_norm_epsilon", 1e-3f));
  EXPECT_EQ(m.config.vision->norm_eps, 1e-6f);
}

TEST_F(GgufConfigTest, SamplingDefaultsAreRead) {
  const SamplingDefaults s = Load(TinyText()
                                      .F32("general.sampling.temp", 0)
                                      .F32("general.sampling.min_p", 0.25f)
                                      .I32("general.sampling.top_k", 7))
                                 .config.sampling;
  EXPECT_FALSE(s.do_sample);
  EXPECT_EQ(s.min_p, 0.25f);
  EXPECT_EQ(s.top_k, 7u);
}

// The figures of the model cards, for files written before the metadata carried them.
TEST_F(GgufConfigTest, AThinkingTemplateBringsItsSamplingDefaults) {
  const std::string chat = "<|im_start|>assistant <|image_pad|> </think>";
  const SamplingDefaults s = Load(TinyText().Str("tokenizer.chat_template", chat)).config.sampling;
  EXPECT_EQ(s.temperature, 1.0f);
  EXPECT_EQ(s.top_p, 0.95f);
  const GgufWriter told = TinyText().Str("tokenizer.chat_template", chat).F32("general.sampling.temp", 0.6f);
  EXPECT_EQ(Load(told).config.sampling.temperature, 0.6f);
}

TEST_F(GgufConfigTest, AModelWithoutVocabularyLoads) {
  GgufWriter w;
  for (const char* key : {"model", "pre", "tokens", "token_type", "merges"})
    w.Skip(std::string("tokenizer.ggml.") + key);
  EXPECT_TRUE(Load(TinyText(w)).tokenizer.tokens.empty());
}

TEST_F(GgufConfigTest, OtherModelsAreRefused) {
  EXPECT_ERROR(ErrorCode::kUnsupported, "general.architecture is \"qwen2vl\"",
               Load(TinyText(Without("general.architecture")).Str("general.architecture", "qwen2vl")));
  EXPECT_ERROR(ErrorCode::kUnsupported, "tokenizer.ggml.model is \"llama\"",
               Load(TinyText(Without("tokenizer.ggml.model")).Str("tokenizer.ggml.model", "llama")));
  EXPECT_ERROR(
      ErrorCode::kUnsupported, "clip.projector_type is \"ldp\"",
      Load(TinyText(), TinyVision(Without("clip.projector_type")).Str("clip.projector_type", "ldp")));
}

TEST_F(GgufConfigTest, MissingThingsAreNamed) {
  ExpectCorrupt("key \"qwen3vl.attention.key_length\" is missing",
                TinyText(Without("qwen3vl.attention.key_length")));
  ExpectCorrupt("key \"general.architecture\" is missing", TinyText(Without("general.architecture")));
  EXPECT_ERROR(ErrorCode::kNotFound, "tensor \"token_embd.weight\" is missing",
               Load(TinyText(Without("token_embd.weight"))));
  EXPECT_ERROR(ErrorCode::kNotFound, "tensor \"blk.0.attn_v.weight\" is missing",
               Load(TinyText(Without("blk.0.attn_v.weight"))));
  EXPECT_ERROR(ErrorCode::kNotFound, "tensor \"v.patch_embd.weight.1\" is missing",
               Load(TinyText(), TinyVision(Without("v.patch_embd.weight.1"))));
}

TEST_F(GgufConfigTest, WrongValuesAreNamed) {
  ExpectCorrupt("key \"qwen3vl.block_count\" is string",
                TinyText(Without("qwen3vl.block_count")).Str("qwen3vl.block_count", "one"));
  ExpectCorrupt("num_hidden_layers is 4000000000",
                TinyText(Without("qwen3vl.block_count")).U32("qwen3vl.block_count", 4000000000u));
  ExpectCorrupt(
      "has 2 numbers, want three",
      TinyText(Without("qwen3vl.rope.dimension_sections")).Ints("qwen3vl.rope.dimension_sections", {1, 1}));
  ExpectCorrupt("value_length\" is 5, want 4", TinyText().U32("qwen3vl.attention.value_length", 5));
  ExpectCorrupt("tokenizer.ggml.eos_token_id is 9, want an id below 9",
                TinyText().U32("tokenizer.ggml.eos_token_id", 9));
  ExpectCorrupt("token_type has 1 entries, want 9",
                TinyText(Without("tokenizer.ggml.token_type")).Ints("tokenizer.ggml.token_type", {1}));
  const auto with_tokens = [](const std::vector<std::string>& tokens) {
    return TinyText(GgufWriter().Skip("tokenizer.ggml.tokens").Skip("tokenizer.ggml.token_type"))
        .Strings("tokenizer.ggml.tokens", tokens)
        .Ints("tokenizer.ggml.token_type", std::vector<int32_t>(tokens.size(), 1));
  };
  ExpectCorrupt("tokens has 10 entries, want at most 9", with_tokens(std::vector<std::string>(10, "x")));
  ExpectCorrupt("tokenizer.ggml.tokens has no <|image_pad|>, which", with_tokens({"a", "b"}));
  ExpectCorrupt("\"blk.0.attn_q.weight\" has shape [8, 9], want [8, 8]",
                TinyText(Without("blk.0.attn_q.weight"))
                    .Tensor("blk.0.attn_q.weight", {9, 8}, 0, test::CountingFloats(72)));
}

TEST_F(GgufConfigTest, TextAndVisionMustAgree) {
  EXPECT_ERROR(ErrorCode::kCorruptFile, "has 0 deepstack layers, want 1",
               Load(TinyText().U32("qwen3vl.n_deepstack_layers", 1), TinyVision()));
  EXPECT_ERROR(ErrorCode::kCorruptFile, "out_hidden_size of the vision tower is 16, want hidden_size",
               Load(TinyText(),
                    TinyVision(Without("clip.vision.projection_dim")).U32("clip.vision.projection_dim", 16)));
  EXPECT_ERROR(ErrorCode::kNotFound, "no-such-file.gguf: cannot be opened",
               LoadModelFiles(dir_.Write("text.gguf", TinyText().File()), {.mmproj = "no-such-file.gguf"}));
}

}  // namespace
}  // namespace qwen3vl
