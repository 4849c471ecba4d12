// SPDX-License-Identifier: Apache-2.0
// The public layers against the recorded first decoder layer of tiny-b (24/20/20 rotary sections, 32 query
// heads on 8).
#include "qwen3vl/layer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/golden_model.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using test::kHiddenTolerance;

// Weights and recordings of layer 0, as float32.
struct Recorded {
  test::GoldenFile weights{"models/tiny-b/model.safetensors"};
  test::GoldenFile run{"cases/tiny-b/image_wide.safetensors"};
  LayerShape shape{
      .dim = 96, .n_heads = 32, .n_kv_heads = 8, .head_dim = 128, .ffn_dim = 256, .max_seq_len = 256};
  std::map<std::string, std::vector<float>> tensors;
  std::vector<float> hidden = run["text.inputs_embeds"].Floats();
  std::vector<TokenPosition> positions;

  Recorded() {
    const std::vector<int32_t> p = run["position_ids"].Ints();
    const size_t n = p.size() / 3;
    for (size_t i = 0; i < n; ++i) positions.push_back({p[i], p[n + i], p[2 * n + i]});
  }
  const float* Get(const std::string& name) {
    std::vector<float>& t = tensors[name];
    if (t.empty()) t = weights["model.language_model.layers.0." + name].Floats();
    return t.data();
  }
  AttentionLayerWeights Attention() {
    return {.q = Get("self_attn.q_proj.weight"),
            .k = Get("self_attn.k_proj.weight"),
            .v = Get("self_attn.v_proj.weight"),
            .o = Get("self_attn.o_proj.weight"),
            .q_norm = Get("self_attn.q_norm.weight"),
            .k_norm = Get("self_attn.k_norm.weight")};
  }
  TransformerLayerWeights Transformer() {
    return {.attention = Attention(),
            .attn_norm = Get("input_layernorm.weight"),
            .ffn_norm = Get("post_attention_layernorm.weight"),
            .gate = Get("mlp.gate_proj.weight"),
            .up = Get("mlp.up_proj.weight"),
            .down = Get("mlp.down_proj.weight")};
  }
  // The rows after the layer's first norm: what the attention layer is given. Float64 inside.
  std::vector<float> Normed() {
    const float* w = Get("input_layernorm.weight");
    std::vector<float> out(hidden.size());
    for (size_t r = 0; r < hidden.size() / shape.dim; ++r) {
      double sum = 0;
      for (size_t d = 0; d < shape.dim; ++d)
        sum += static_cast<double>(hidden[r * shape.dim + d]) * hidden[r * shape.dim + d];
      const double scale = 1 / std::sqrt(sum / static_cast<double>(shape.dim) + shape.norm_eps);
      for (size_t d = 0; d < shape.dim; ++d)
        out[r * shape.dim + d] = static_cast<float>(w[d] * hidden[r * shape.dim + d] * scale);
    }
    return out;
  }
};

TEST(TransformerLayer, MatchesTheRecordedDecoderLayer) {
  Recorded r;
  for (AttentionChoice path : {AttentionChoice::kTiled, AttentionChoice::kStandard}) {
    const auto layer = MakeTransformerLayer(r.shape, r.Transformer(), {.threads = 2, .attention = path});
    std::vector<float> out(r.hidden.size());
    layer->Forward({.hidden = r.hidden, .positions = r.positions}, out);
    EXPECT_TRUE(test::AllNear(out, r.run["text.layer.0"].Floats(), r.shape.dim, kHiddenTolerance));
    EXPECT_EQ(layer->length(), r.positions.size());
    EXPECT_FALSE(layer->tile_reason().empty());
  }
}

// Codes of 16 bits are about as fine as keys and values in F16: their limit, of Tolerances in
// tests/data/README.md.
TEST(TransformerLayer, ProductsInWholeNumbersComeNear) {
  Recorded r;
  const auto run = [&](CpuProducts products) {
    const auto layer =
        MakeTransformerLayer(r.shape, r.Transformer(), {.threads = 2, .cpu_products = products});
    std::vector<float> out(r.hidden.size());
    layer->Forward({.hidden = r.hidden, .positions = r.positions}, out);
    return out;
  };
  const std::vector<float> out = run(CpuProducts::kInt16);
  const std::vector<float> wanted = r.run["text.layer.0"].Floats();
  EXPECT_LE(test::RelativeError(out, wanted), 1e-3);
  EXPECT_NE(out, run(CpuProducts::kF32));
}

TEST(AttentionLayer, MatchesTheRecordingAndGoesOnFromItsCache) {
  Recorded r;
  const std::vector<float> normed = r.Normed(), wanted = r.run["text.layer.0.attn"].Floats();
  const auto layer = MakeAttentionLayer(r.shape, r.Attention(), {.threads = 2});
  std::vector<float> out(normed.size());
  const size_t n = r.positions.size(), first = n / 2, dim = r.shape.dim;
  layer->Forward(
      {.hidden = std::span(normed).first(first * dim), .positions = std::span(r.positions).first(first)},
      std::span(out).first(first * dim));
  for (size_t i = first; i < n; ++i)
    layer->Forward({.hidden = std::span(normed).subspan(i * dim, dim), .positions = {&r.positions[i], 1}},
                   std::span(out).subspan(i * dim, dim));
  EXPECT_TRUE(test::AllNear(out, wanted, dim, kHiddenTolerance));
  layer->Truncate(n - 1);
  std::vector<float> again(dim);
  layer->Forward({.hidden = std::span(normed).last(dim), .positions = std::span(r.positions).last(1)}, again);
  EXPECT_TRUE(test::AllNear(again, std::span<const float>(wanted).last(dim), kHiddenTolerance));
}

TEST(AttentionLayer, WeightsSumToOneAndTakeTheStandardPath) {
  Recorded r;
  const std::vector<float> normed = r.Normed();
  std::vector<std::string> log;
  LayerOptions options{.threads = 1};
  options.log = [&](LogLevel, std::string_view line) { log.emplace_back(line); };
  const auto layer = MakeAttentionLayer(r.shape, r.Attention(), options);
  const size_t n = r.positions.size();
  std::vector<float> out(normed.size()), weights(r.shape.n_heads * n * n);
  layer->Forward({.hidden = normed, .positions = r.positions, .attention_weights = weights.data()}, out);
  EXPECT_TRUE(test::AllNear(out, r.run["text.layer.0.attn"].Floats(), r.shape.dim, kHiddenTolerance));
  for (size_t row = 0; row < r.shape.n_heads * n; ++row) {
    double sum = 0;
    for (size_t j = 0; j < n; ++j) sum += weights[row * n + j];
    ASSERT_NEAR(sum, 1.0, 1e-5) << "row " << row;
    for (size_t j = row % n + 1; j < n; ++j)
      ASSERT_EQ(weights[row * n + j], 0.0f) << "row " << row << " sees the future";
  }
  EXPECT_NE(layer->paths().find("standard"), std::string::npos);
  EXPECT_EQ(log.size(), 1u);
}

TEST(AttentionLayer, MaskHidesTokens) {
  Recorded r;
  const std::vector<float> normed = r.Normed();
  const size_t n = 6, dim = r.shape.dim;
  // Token 0 hidden from the others: the same as if the sequence began at token 1.
  std::vector<uint8_t> allowed(n * n, 1);
  for (size_t i = 1; i < n; ++i) allowed[i * n] = 0;
  const auto masked = MakeAttentionLayer(r.shape, r.Attention()),
             shorter = MakeAttentionLayer(r.shape, r.Attention());
  std::vector<float> a(n * dim), b((n - 1) * dim);
  masked->Forward({.hidden = std::span(normed).first(n * dim),
                   .positions = std::span(r.positions).first(n),
                   .allowed = allowed.data()},
                  a);
  shorter->Forward({.hidden = std::span(normed).subspan(dim, (n - 1) * dim),
                    .positions = std::span(r.positions).subspan(1, n - 1)},
                   b);
  EXPECT_TRUE(test::AllNear(std::span<const float>(a).subspan(dim), b, 1e-5));  // same sums in another order
}

TEST(AttentionLayer, RefusesContradictoryShapes) {
  Recorded r;
  const auto code = [&](auto change) {
    LayerShape shape = r.shape;
    AttentionLayerWeights weights = r.Attention();
    change(shape, weights);
    try {
      MakeAttentionLayer(shape, weights);
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::kDevice;  // stands for "no error"
  };
  EXPECT_EQ(code([](LayerShape& s, auto&) { s.n_kv_heads = 5; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code([](LayerShape& s, auto&) { s.n_kv_heads = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code([](LayerShape& s, auto&) { s.head_dim = 7; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code([](LayerShape& s, auto&) { s.mrope_section = {1, 2, 3}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code([](LayerShape&, AttentionLayerWeights& w) { w.o = nullptr; }), ErrorCode::kInvalidArgument);
  for (size_t LayerShape::*field : {&LayerShape::dim, &LayerShape::n_heads, &LayerShape::n_kv_heads,
                                    &LayerShape::head_dim, &LayerShape::max_seq_len}) {
    EXPECT_EQ(code([&](LayerShape& s, auto&) { s.*field = 0; }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code([&](LayerShape& s, auto&) { s.*field = size_t{1} << 62; }), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(code([](LayerShape& s, auto&) { s.ffn_dim = size_t{1} << 62; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code([](LayerShape& s, auto&) {
              s.mrope_section = {SIZE_MAX, 25, 40};
            }),
            ErrorCode::kInvalidArgument);  // their sum wraps around to 64
  for (const double theta : {0.0, -1.0, double{NAN}, double{INFINITY}})
    EXPECT_EQ(code([&](LayerShape& s, auto&) { s.rope_theta = theta; }), ErrorCode::kInvalidArgument);
  for (const float eps : {-1e-6f, NAN, INFINITY})
    EXPECT_EQ(code([&](LayerShape& s, auto&) { s.norm_eps = eps; }), ErrorCode::kInvalidArgument);
  EXPECT_THROW(MakeAttentionLayer(r.shape, r.Attention(), {.threads = 1025}), Error);
  const auto layer = MakeAttentionLayer(r.shape, r.Attention());
  std::vector<float> out(r.hidden.size());
  EXPECT_THROW(layer->Forward({.hidden = std::span(r.hidden).first(5), .positions = r.positions}, out),
               Error);
  std::vector<TokenPosition> many(300);
  std::vector<float> wide(300 * r.shape.dim), wide_out(wide.size());
  EXPECT_THROW(layer->Forward({.hidden = wide, .positions = many}, wide_out), Error);  // the cache holds 256
  EXPECT_EQ(layer->length(), 0u);
}

}  // namespace
}  // namespace qwen3vl
