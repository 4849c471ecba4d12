// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/decoder_memory.h"

#include <algorithm>
#include <initializer_list>

#include "attention/cuda/cuda_problem.h"
#include "hw/checked.h"
#include "qwen3vl/cuda/device_places.h"
#include "qwen3vl/cuda/expert_kernels.h"

namespace qwen3vl {
namespace {

constexpr const char* kWhat = "memory on the GPU";
constexpr size_t kMinStagedRows = 8;  // of every layer: a few tokens' keys and values come back in one copy

PlacedLayer Place(const TextLayerWeights& w, DevicePlaces& places) {
  const auto vector = [&](const Vector& v) { return places.Floats({v.size()}); };
  const bool mixture = !w.expert_gate.empty();
  return {.q = places.Matrix(w.q),
          .k = places.Matrix(w.k),
          .v = places.Matrix(w.v),
          .o = places.Matrix(w.o),
          .router = mixture ? places.Matrix(w.router) : PlacedWeight{},
          .gate = mixture ? places.Experts(w.expert_gate) : places.Matrix(w.gate),
          .up = mixture ? places.Experts(w.expert_up) : places.Matrix(w.up),
          .down = mixture ? places.Experts(w.expert_down) : places.Matrix(w.down),
          .attn_norm = vector(w.attn_norm),
          .ffn_norm = vector(w.ffn_norm),
          .q_norm = w.q_norm.size() ? std::optional(vector(w.q_norm)) : std::nullopt,
          .k_norm = w.k_norm.size() ? std::optional(vector(w.k_norm)) : std::nullopt};
}

size_t PaddedCols(size_t cols) { return (cols + gpu::kBlockCols - 1) / gpu::kBlockCols * gpu::kBlockCols; }

// Why the products of a mixture's experts cannot be done together, or an empty text.
std::string WhyNotTogether(const TextConfig& c, const TextLayerWeights& w) {
  if (c.n_experts > gpu::kMaxExperts || c.n_experts_used > gpu::kMaxUsedExperts)
    return std::to_string(c.n_experts_used) + " of " + std::to_string(c.n_experts) + " experts, want up to " +
           std::to_string(gpu::kMaxUsedExperts) + " of " + std::to_string(gpu::kMaxExperts);
  for (const auto* experts : {&w.expert_gate, &w.expert_up, &w.expert_down})
    for (const Weight& weight : *experts)
      if (weight.format != experts->front().format) return "experts whose weights differ in format";
  return {};
}

// The attention of n rows on a cache of this shape, as far as its size goes.
attention::CudaProblem ProblemOf(const TextConfig& c, const attention::KvCacheShape& kv, size_t rows,
                                 size_t multiprocessors) {
  attention::Inputs in;
  in.shape = {.q_len = rows,
              .kv_len = kv.capacity,
              .n_heads = c.n_heads,
              .n_kv_heads = c.n_kv_heads,
              .head_dim = c.head_dim};
  in.k.format = in.v.format = kv.format;
  return attention::MakeCudaProblem(in, multiprocessors);
}

PlacedActivations PlaceActivations(const TextConfig& c, size_t head_dim, size_t layers, size_t n,
                                   size_t max_splits, DevicePlaces& places) {
  const auto floats = [&](std::initializer_list<size_t> factors) { return places.Floats(factors); };
  // Rows of the feed-forward part: a mixture has one for each expert of a token.
  const size_t pairs = hw::CheckedMul(n, c.n_experts ? c.n_experts_used : 1, kWhat);
  const size_t ffn = c.n_experts ? c.expert_ffn_dim : c.ffn_dim;
  const size_t codes = std::max(hw::CheckedMul(n, PaddedCols(std::max(c.dim, c.q_dim())), kWhat),
                                hw::CheckedMul(pairs, PaddedCols(ffn), kWhat));
  const bool wide = head_dim != c.head_dim;
  const size_t split_rows = attention::kMaxDecodeRows * c.n_kv_heads;
  PlacedActivations at{.max_rows = n, .staged_rows = std::max(n, kMinStagedRows * layers)};
  at.x = floats({n, c.dim});
  at.normed = floats({n, c.dim});
  at.q = floats({n, c.q_dim()});
  at.q_wide = wide ? floats({n, c.n_heads, head_dim}) : at.q;
  at.attended = floats({n, c.n_heads, head_dim});
  at.attended_narrow = wide ? floats({n, c.q_dim()}) : at.attended;
  at.gate = floats({pairs, ffn});
  at.up = floats({pairs, ffn});
  at.codes = places.Take({codes});
  at.scales = floats({codes / 32});
  at.sums = floats({codes / 16});
  if (c.n_experts) {
    at.logits = floats({n, c.n_experts});
    at.experts = places.Take({pairs, sizeof(unsigned)});
    at.expert_weights = floats({pairs});
    at.order = places.Take({pairs, sizeof(unsigned)});
    at.tiles = places.Take({DevicePairs::MaxTiles(pairs, c.n_experts), sizeof(gpu::ExpertTile)});
    at.mixed = floats({pairs, c.dim});
  }
  at.cos = floats({n, c.head_dim / 2});
  at.sin = floats({n, c.head_dim / 2});
  at.seen = places.Take({n, sizeof(gpu::SeenRange)});
  at.features = floats({n, c.dim});
  at.feature_rows = places.Take({n, sizeof(unsigned)});
  at.stats = floats({n, c.n_heads, 2});
  at.partial = floats({split_rows, max_splits, head_dim});
  at.partial_stats = floats({split_rows, max_splits, 2});
  at.staged = floats({2, at.staged_rows, c.kv_dim()});
  return at;
}

}  // namespace

std::string WhyNotOnGpu(const TextConfig& c, const TextLayerWeights& w, const attention::KvCacheShape& kv) {
  if (c.head_dim > gpu::kMaxHeadDim || c.head_dim % 2 != 0)
    return "head_dim " + std::to_string(c.head_dim) + ", want an even one up to " +
           std::to_string(gpu::kMaxHeadDim);
  if (kv.format == hw::Format::kQ8_0 && c.head_dim % 32 != 0)
    return "a q8_0 cache with head_dim " + std::to_string(c.head_dim);
  std::vector<const Weight*> weights = {&w.q, &w.k, &w.v, &w.o};
  if (c.n_experts)
    weights.insert(weights.end(), {&w.router, &w.expert_gate[0], &w.expert_up[0], &w.expert_down[0]});
  else
    weights.insert(weights.end(), {&w.gate, &w.up, &w.down});
  for (const Weight* weight : weights)
    if (std::string why = WhyNotOnGpu(*weight); !why.empty()) return why;
  return c.n_experts ? WhyNotTogether(c, w) : "";
}

DecoderMemory PlaceDecoder(const TextConfig& config, const TextWeights& weights, LayerRange range,
                           const attention::KvCacheShape& kv, size_t max_rows, size_t multiprocessors) {
  DecoderMemory memory;
  DevicePlaces weight_places, activation_places;
  for (size_t i = range.first; i < range.end; ++i)
    memory.layers.push_back(Place(weights.layers[i], weight_places));
  memory.weight_bytes = weight_places.end();

  const attention::CudaProblem problem = ProblemOf(config, kv, 1, multiprocessors);
  memory.kv_format = problem.format;
  memory.head_dim = problem.head_dim;
  const size_t values = hw::CheckedProduct({kv.n_kv_heads, kv.capacity, memory.head_dim}, kWhat);
  DevicePlaces kv_places;
  kv_places.Take({values, attention::ElementBytes(problem.format)});
  memory.kv_rows_bytes = kv_places.end();
  if (problem.format == gpu::KvFormat::kQ8_0) kv_places.Take({values / 32, sizeof(uint16_t)});
  memory.kv_scale_bytes = kv_places.end() - memory.kv_rows_bytes;
  memory.kv_bytes = hw::CheckedProduct({2, range.size(), kv_places.end()}, kWhat);

  const size_t max_splits = attention::MaxSplits(kv.n_kv_heads, kv.capacity, multiprocessors);
  memory.at =
      PlaceActivations(config, memory.head_dim, range.size(), max_rows, max_splits, activation_places);
  memory.activation_bytes = activation_places.end();
  return memory;
}

}  // namespace qwen3vl
