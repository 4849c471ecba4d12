// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/layer.h"

#include <algorithm>
#include <cmath>

#include "qwen3vl/decoder_layer.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl {
namespace {

void Require(bool good, const std::string& message) {
  if (!good) throw Error(ErrorCode::kInvalidArgument, message);
}

void CheckRange(const char* name, size_t value, size_t min, size_t max) {
  Require(value >= min && value <= max, std::string("layer: ") + name + " " + std::to_string(value) +
                                            ", want " + std::to_string(min) + " to " + std::to_string(max));
}

TextConfig ToConfig(const LayerShape& s) {
  // Far beyond every model; products of these numbers stay inside 64 bits.
  constexpr size_t kMaxWidth = size_t{1} << 20, kMaxHeads = 4096, kMaxLength = size_t{1} << 30;
  CheckRange("dim", s.dim, 1, kMaxWidth);
  CheckRange("n_heads", s.n_heads, 1, kMaxHeads);
  CheckRange("n_kv_heads", s.n_kv_heads, 1, s.n_heads);
  CheckRange("head_dim", s.head_dim, 2, kMaxHeads);
  CheckRange("ffn_dim", s.ffn_dim, 0, kMaxWidth);
  CheckRange("max_seq_len", s.max_seq_len, 1, kMaxLength);
  Require(s.norm_eps >= 0 && std::isfinite(s.norm_eps), "layer: norm_eps must be a number of 0 or more");
  Require(s.rope_theta > 0 && std::isfinite(s.rope_theta), "layer: rope_theta must be a number above 0");
  Require(s.n_heads % s.n_kv_heads == 0, "layer: " + std::to_string(s.n_heads) + " query heads on " +
                                             std::to_string(s.n_kv_heads) +
                                             " key/value heads, want a multiple");
  Require(s.head_dim % 2 == 0, "layer: head_dim " + std::to_string(s.head_dim) + ", want an even number");
  for (const size_t section : s.mrope_section)
    CheckRange("a part of mrope_section", section, 0, s.head_dim / 2);
  const size_t sections = s.mrope_section[0] + s.mrope_section[1] + s.mrope_section[2];
  Require(sections == s.head_dim / 2, "layer: mrope_section sums to " + std::to_string(sections) +
                                          ", want head_dim / 2 = " + std::to_string(s.head_dim / 2));
  return {.dim = s.dim,
          .n_layers = 1,
          .n_heads = s.n_heads,
          .n_kv_heads = s.n_kv_heads,
          .head_dim = s.head_dim,
          .ffn_dim = s.ffn_dim,
          .max_seq_len = s.max_seq_len,
          .norm_eps = s.norm_eps,
          .rope_theta = s.rope_theta,
          .mrope_section = s.mrope_section};
}

Weight Matrix(const float* data, size_t rows, size_t cols, const char* name) {
  Require(data != nullptr, std::string("layer: no ") + name + " weights");
  return {.data = reinterpret_cast<const std::byte*>(data),
          .format = hw::Format::kF32,
          .rows = rows,
          .cols = cols};
}

Vector Copy(const float* data, size_t n) {
  Vector out(data ? n : 0);
  if (data) std::copy_n(data, n, out.data());
  return out;
}

SessionOptions ToSessionOptions(const LayerShape& shape, const LayerOptions& o) {
  const HeadShape heads{shape.head_dim, shape.n_heads / shape.n_kv_heads};
  return {.threads = o.threads ? o.threads : TunedThreads(hw::ProbeCpu(), {&heads, 1}),
          .attention = o.attention,
          .cpu_products = o.cpu_products,
          .tile = o.tile,
          .check_finite = o.check_finite,
          .log = o.log};
}

// What both kinds of layer are made of.
struct LayerState {
  TextConfig config;
  TextLayerWeights weights;
  Runtime runtime;
  attention::KvCache cache;
  DecoderScratch scratch;

  LayerState(const LayerShape& shape, const AttentionLayerWeights& w, const LayerOptions& options)
      : config(ToConfig(shape)),
        runtime(ToSessionOptions(shape, options)),
        cache({.n_layers = 1,
               .n_kv_heads = shape.n_kv_heads,
               .head_dim = shape.head_dim,
               .capacity = shape.max_seq_len,
               .format = ToFormat(options.kv_type)}) {
    weights.q = Matrix(w.q, config.q_dim(), config.dim, "q");
    weights.k = Matrix(w.k, config.kv_dim(), config.dim, "k");
    weights.v = Matrix(w.v, config.kv_dim(), config.dim, "v");
    weights.o = Matrix(w.o, config.dim, config.q_dim(), "o");
    weights.q_norm = Copy(w.q_norm, config.head_dim);
    weights.k_norm = Copy(w.k_norm, config.head_dim);
  }

  // Checks sizes, sets up one step and runs `body(step)`; the cache is as before when it throws.
  template <class Body>
  void Run(const LayerInput& input, std::span<float> out, const Body& body) {
    const size_t n = input.positions.size();
    Require(n > 0 && input.hidden.size() == n * config.dim,
            "layer: " + std::to_string(input.hidden.size()) + " hidden values for " + std::to_string(n) +
                " positions, want positions * dim = " + std::to_string(n * config.dim));
    Require(out.size() == input.hidden.size(), "layer: out has " + std::to_string(out.size()) +
                                                   " values, want " + std::to_string(input.hidden.size()));
    const size_t before = cache.length();
    Require(before + n <= config.max_seq_len, "layer: " + std::to_string(before + n) +
                                                  " tokens, but the cache holds " +
                                                  std::to_string(config.max_seq_len));
    std::vector<rope::Position> positions;
    for (const TokenPosition& p : input.positions) positions.push_back({p.t, p.h, p.w});
    const rope::RopeTable rope =
        rope::RopeTable::Text(positions, config.head_dim, config.rope_theta, config.mrope_section);
    scratch.Reserve(config, n);
    DecoderStep step{.config = &config,
                     .weights = &weights,
                     .name = "layer",
                     .rope = &rope,
                     .cache = &cache,
                     .attention_weights = input.attention_weights};
    step.mask.causal = true;
    step.mask.allowed = input.allowed;
    try {
      body(step, hw::MatrixView<const float>(input.hidden.data(), n, config.dim),
           hw::MatrixView<float>(out.data(), n, config.dim));
    } catch (...) {
      cache.Truncate(before);
      throw;
    }
  }

  std::string TileReason() const {
    return runtime
        .Plan({.q_len = config.max_seq_len,
               .kv_len = config.max_seq_len,
               .n_heads = config.n_heads,
               .n_kv_heads = config.n_kv_heads,
               .head_dim = config.head_dim})
        .reason;
  }
};

}  // namespace

struct AttentionLayer::Impl : LayerState {
  using LayerState::LayerState;
};
struct TransformerLayer::Impl : LayerState {
  using LayerState::LayerState;
};

AttentionLayer::AttentionLayer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AttentionLayer::~AttentionLayer() = default;
size_t AttentionLayer::length() const { return impl_->cache.length(); }
void AttentionLayer::Truncate(size_t length) { impl_->cache.Truncate(length); }
std::string AttentionLayer::tile_reason() const { return impl_->TileReason(); }
std::string AttentionLayer::paths() const { return impl_->runtime.PathsUsed(); }

void AttentionLayer::Forward(const LayerInput& input, std::span<float> out) {
  impl_->Run(input, out,
             [&](const DecoderStep& step, hw::MatrixView<const float> x, hw::MatrixView<float> y) {
               AttentionBlock(step, x, y, /*accumulate=*/false, impl_->scratch, impl_->runtime);
             });
}

TransformerLayer::TransformerLayer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TransformerLayer::~TransformerLayer() = default;
size_t TransformerLayer::length() const { return impl_->cache.length(); }
void TransformerLayer::Truncate(size_t length) { impl_->cache.Truncate(length); }
std::string TransformerLayer::tile_reason() const { return impl_->TileReason(); }
std::string TransformerLayer::paths() const { return impl_->runtime.PathsUsed(); }

void TransformerLayer::Forward(const LayerInput& input, std::span<float> out) {
  impl_->Run(input, out, [&](const DecoderStep& step, hw::MatrixView<const float>, hw::MatrixView<float> y) {
    if (input.hidden.data() != out.data()) std::ranges::copy(input.hidden, out.begin());
    DecoderLayer(step, y, impl_->scratch, impl_->runtime);
  });
}

std::unique_ptr<AttentionLayer> MakeAttentionLayer(const LayerShape& shape,
                                                   const AttentionLayerWeights& weights,
                                                   const LayerOptions& options) {
  return std::unique_ptr<AttentionLayer>(
      new AttentionLayer(std::make_unique<AttentionLayer::Impl>(shape, weights, options)));
}

std::unique_ptr<TransformerLayer> MakeTransformerLayer(const LayerShape& shape,
                                                       const TransformerLayerWeights& w,
                                                       const LayerOptions& options) {
  auto impl = std::make_unique<TransformerLayer::Impl>(shape, w.attention, options);
  const TextConfig& c = impl->config;
  Require(w.attn_norm && w.ffn_norm, "layer: no norm weights");
  impl->weights.attn_norm = Copy(w.attn_norm, c.dim);
  impl->weights.ffn_norm = Copy(w.ffn_norm, c.dim);
  impl->weights.gate = Matrix(w.gate, c.ffn_dim, c.dim, "gate");
  impl->weights.up = Matrix(w.up, c.ffn_dim, c.dim, "up");
  impl->weights.down = Matrix(w.down, c.dim, c.ffn_dim, "down");
  return std::unique_ptr<TransformerLayer>(new TransformerLayer(std::move(impl)));
}

}  // namespace qwen3vl
