// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/decoder_memory.h"

#include <algorithm>
#include <initializer_list>

#include "attention/cuda/cuda_problem.h"
#include "hw/checked.h"
#include "qwen3vl/cuda/device_places.h"

namespace qwen3vl {
namespace {

constexpr const char* kWhat = "memory on the GPU";
constexpr size_t kMinStagedRows = 8;  // of every layer: a few tokens' keys and values come back in one copy

PlacedLayer Place(const TextLayerWeights& w, DevicePlaces& places) {
  const auto vector = [&](const Vector& v) { return places.Floats({v.size()}); };
  return {.q = places.Matrix(w.q),
          .k = places.Matrix(w.k),
          .v = places.Matrix(w.v),
          .o = places.Matrix(w.o),
          .gate = places.Matrix(w.gate),
          .up = places.Matrix(w.up),
          .down = places.Matrix(w.down),
          .attn_norm = vector(w.attn_norm),
          .ffn_norm = vector(w.ffn_norm),
          .q_norm = w.q_norm.size() ? std::optional(vector(w.q_norm)) : std::nullopt,
          .k_norm = w.k_norm.size() ? std::optional(vector(w.k_norm)) : std::nullopt};
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
  const size_t widest = std::max({c.dim, c.q_dim(), c.ffn_dim});
  const size_t padded = (widest + gpu::kBlockCols - 1) / gpu::kBlockCols * gpu::kBlockCols;
  const bool wide = head_dim != c.head_dim;
  const size_t split_rows = attention::kMaxDecodeRows * c.n_kv_heads;
  PlacedActivations at{.max_rows = n, .staged_rows = std::max(n, kMinStagedRows * layers)};
  at.x = floats({n, c.dim});
  at.normed = floats({n, c.dim});
  at.q = floats({n, c.q_dim()});
  at.q_wide = wide ? floats({n, c.n_heads, head_dim}) : at.q;
  at.attended = floats({n, c.n_heads, head_dim});
  at.attended_narrow = wide ? floats({n, c.q_dim()}) : at.attended;
  at.gate = floats({n, c.ffn_dim});
  at.up = floats({n, c.ffn_dim});
  at.codes = places.Take({n, padded});
  at.scales = floats({n, padded / 32});
  at.sums = floats({n, padded / 16});
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
  if (c.n_experts) return "mixture-of-experts layers run on the CPU";
  if (c.head_dim > gpu::kMaxHeadDim || c.head_dim % 2 != 0)
    return "head_dim " + std::to_string(c.head_dim) + ", want an even one up to " +
           std::to_string(gpu::kMaxHeadDim);
  if (kv.format == hw::Format::kQ8_0 && c.head_dim % 32 != 0)
    return "a q8_0 cache with head_dim " + std::to_string(c.head_dim);
  for (const Weight* weight : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down})
    if (std::string why = WhyNotOnGpu(*weight); !why.empty()) return why;
  return {};
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
