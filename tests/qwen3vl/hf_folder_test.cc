// SPDX-License-Identifier: Apache-2.0
// Hugging Face folders as a whole: the recorded models bind completely, and every weight has the bytes that
// an independent reader finds in the file.
#include <gtest/gtest.h>

#include <cstring>

#include "qwen3vl/error.h"
#include "qwen3vl/weights.h"
#include "support/golden.h"
#include "support/near.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using test::DataPath;
using test::GoldenFile;
using test::GoldenTensor;

std::string_view BytesOf(const Weight& w) { return {reinterpret_cast<const char*>(w.data), w.bytes()}; }

void ExpectWeight(const Weight& w, const GoldenTensor& t, size_t rows, size_t cols) {
  EXPECT_EQ(w.rows, rows);
  EXPECT_EQ(w.cols, cols);
  EXPECT_EQ(BytesOf(w), t.bytes);
}

TEST(HfFolder, BindsTheDenseModel) {
  const ModelFiles m = LoadModelFiles(DataPath("models/tiny-b"));
  const GoldenFile file("models/tiny-b/model.safetensors");
  EXPECT_EQ(m.config.name, "tiny-b");
  EXPECT_TRUE(m.warnings.empty()) << m.warnings[0];
  EXPECT_EQ(m.tensors.size(), file.tensors().size());
  ASSERT_EQ(m.text.layers.size(), 2u);
  EXPECT_FALSE(m.config.text.tied_embeddings);
  ExpectWeight(m.text.embed, file["model.language_model.embed_tokens.weight"], 1024, 96);
  ExpectWeight(m.text.output, file["lm_head.weight"], 1024, 96);
  const std::string layer = "model.language_model.layers.1.";
  ExpectWeight(m.text.layers[1].q, file[layer + "self_attn.q_proj.weight"], 4096, 96);
  ExpectWeight(m.text.layers[1].k, file[layer + "self_attn.k_proj.weight"], 1024, 96);
  ExpectWeight(m.text.layers[1].v, file[layer + "self_attn.v_proj.weight"], 1024, 96);
  ExpectWeight(m.text.layers[1].o, file[layer + "self_attn.o_proj.weight"], 96, 4096);
  ExpectWeight(m.text.layers[1].gate, file[layer + "mlp.gate_proj.weight"], 256, 96);
  ExpectWeight(m.text.layers[1].up, file[layer + "mlp.up_proj.weight"], 256, 96);
  ExpectWeight(m.text.layers[1].down, file[layer + "mlp.down_proj.weight"], 96, 256);
  EXPECT_TRUE(
      test::AllNear(m.text.layers[1].q_norm.span(), file[layer + "self_attn.q_norm.weight"].Floats(), 0));
  EXPECT_TRUE(test::AllNear(m.text.layers[1].ffn_norm.span(),
                            file[layer + "post_attention_layernorm.weight"].Floats(), 0));
  EXPECT_TRUE(test::AllNear(m.text.final_norm.span(), file["model.language_model.norm.weight"].Floats(), 0));
}

TEST(HfFolder, BindsTheVisionTower) {
  const ModelFiles m = LoadModelFiles(DataPath("models/tiny-b"));
  const GoldenFile file("models/tiny-b/model.safetensors");
  const auto at = [&](const std::string& name) -> const GoldenTensor& {
    return file["model.visual." + name];
  };
  ASSERT_TRUE(m.config.vision.has_value());
  ExpectWeight(m.vision.patch_embed, at("patch_embed.proj.weight"), 144, 1536);
  EXPECT_TRUE(test::AllNear(m.vision.position_embed.span(), at("pos_embed.weight").Floats(), 0));
  ASSERT_EQ(m.vision.layers.size(), 3u);
  ExpectWeight(m.vision.layers[2].qkv, at("blocks.2.attn.qkv.weight"), 432, 144);
  ExpectWeight(m.vision.layers[2].fc1, at("blocks.2.mlp.linear_fc1.weight"), 304, 144);
  EXPECT_TRUE(test::AllNear(m.vision.layers[2].qkv_b.span(), at("blocks.2.attn.qkv.bias").Floats(), 0));
  EXPECT_EQ(m.vision.merger.norm_w.size(), 144u);
  ASSERT_EQ(m.vision.deepstack.size(), 2u);
  EXPECT_EQ(m.vision.deepstack[1].norm_w.size(), 576u);
  ExpectWeight(m.vision.deepstack[1].fc2, at("deepstack_merger_list.1.linear_fc2.weight"), 96, 576);
}

TEST(HfFolder, ReadsTheConfig) {
  const ModelConfig c = LoadModelFiles(DataPath("models/tiny-moe"), {.header_only = true}).config;
  EXPECT_EQ(c.text.dim, 128u);
  EXPECT_EQ(c.text.n_heads, 16u);
  EXPECT_EQ(c.text.n_kv_heads, 4u);
  EXPECT_EQ(c.text.head_dim, 32u);
  EXPECT_EQ(c.text.n_experts, 8u);
  EXPECT_EQ(c.text.n_experts_used, 2u);
  EXPECT_EQ(c.text.expert_ffn_dim, 64u);
  EXPECT_EQ(c.text.mrope_section, (std::array<size_t, 3>{6, 5, 5}));
  EXPECT_EQ(c.text.rope_theta, 5e6);
  EXPECT_EQ(c.vision->deepstack_layers, (std::vector<size_t>{0, 2}));
  EXPECT_EQ(c.vision->n_positions, 64u);
  EXPECT_EQ(c.preprocess.image_min_pixels, 4096u);
  EXPECT_EQ(c.preprocess.image_max_pixels, 65536u);
  EXPECT_EQ(c.preprocess.video_max_pixels, 25165824u);
  EXPECT_EQ(c.ids.image_pad, 1012);
  EXPECT_EQ(c.ids.video_pad, 1013);
  EXPECT_EQ(c.ids.vision_start, 1009);
  EXPECT_EQ(c.ids.vision_end, 1010);
  EXPECT_EQ(c.sampling.stop_ids, (std::vector<int32_t>{1002, 1000}));
  EXPECT_FLOAT_EQ(c.sampling.temperature, 0.7f);
}

// gate_up [8, dim 128, 2 * 64] is square: only down_proj [8, 64, 128] tells that both are stored [in, out].
TEST(HfFolder, TransposesReleasedExperts) {
  const ModelFiles m = LoadModelFiles(DataPath("models/tiny-moe"));
  const GoldenFile file("models/tiny-moe/model.safetensors");
  const std::string prefix = "model.language_model.layers.1.mlp.experts.";
  const std::string& gate_up = file[prefix + "gate_up_proj"].bytes;
  const std::string& down = file[prefix + "down_proj"].bytes;
  const TextLayerWeights& l = m.text.layers[1];
  ASSERT_EQ(l.expert_down.size(), 8u);
  const auto same = [](const Weight& w, size_t out, size_t in, const std::string& bytes, size_t element) {
    return std::memcmp(w.row(out) + 2 * in, bytes.data() + 2 * element, 2) == 0;
  };
  size_t wrong = 0;
  for (size_t e = 0; e < 8; ++e)
    for (size_t f = 0; f < 64; ++f)
      for (size_t d = 0; d < 128; ++d) {
        wrong += !same(l.expert_gate[e], f, d, gate_up, (e * 128 + d) * 128 + f);
        wrong += !same(l.expert_up[e], f, d, gate_up, (e * 128 + d) * 128 + 64 + f);
        wrong += !same(l.expert_down[e], d, f, down, (e * 64 + f) * 128 + d);
      }
  EXPECT_EQ(wrong, 0u);
}

TEST(HfFolder, ReportsProgressUpToTheEnd) {
  size_t last = 0, total = 0;
  LoadModelFilesOptions options;
  options.progress = [&](size_t done, size_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
    return true;
  };
  LoadModelFiles(DataPath("models/tiny-moe"), options);
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 2'900'000u);
}

TEST(HfFolder, StopsWhenAskedTo) {
  LoadModelFilesOptions options;
  size_t calls = 0;
  options.progress = [&](size_t, size_t) { return ++calls < 3; };
  try {
    LoadModelFiles(DataPath("models/tiny-b"), options);
    FAIL() << "loaded to the end";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
  EXPECT_EQ(calls, 3u);
}

}  // namespace
}  // namespace qwen3vl
