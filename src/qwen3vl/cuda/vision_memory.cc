// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/vision_memory.h"

#include <algorithm>

#include "qwen3vl/cuda/device_places.h"

namespace qwen3vl {
namespace {

size_t Padded(size_t cols) { return (cols + gpu::kBlockCols - 1) / gpu::kBlockCols * gpu::kBlockCols; }

PlacedNorm PlaceNorm(const Vector& weight, const Vector& bias, DevicePlaces& places) {
  return {.weight = places.Floats({weight.size()}), .bias = places.Floats({bias.size()})};
}

PlacedWeight PlaceLinear(const Weight& weight, const Vector& bias, DevicePlaces& places) {
  PlacedWeight placed = places.Matrix(weight);
  placed.bias = places.Floats({bias.size()});
  return placed;
}

PlacedMerger PlaceMerger(const MergerWeights& w, DevicePlaces& places) {
  return {.norm = PlaceNorm(w.norm_w, w.norm_b, places),
          .fc1 = PlaceLinear(w.fc1, w.fc1_b, places),
          .fc2 = PlaceLinear(w.fc2, w.fc2_b, places)};
}

}  // namespace

std::string WhyNotOnGpu(const VisionConfig& c, const VisionWeights& w) {
  if (c.head_dim() > gpu::kMaxHeadDim || c.head_dim() % 4 != 0)
    return "head_dim " + std::to_string(c.head_dim()) + ", want a multiple of 4 up to " +
           std::to_string(gpu::kMaxHeadDim);
  std::vector<const Weight*> weights = {&w.merger.fc1, &w.merger.fc2};
  for (const VisionLayerWeights& l : w.layers)
    weights.insert(weights.end(), {&l.qkv, &l.proj, &l.fc1, &l.fc2});
  for (const MergerWeights& m : w.deepstack) weights.insert(weights.end(), {&m.fc1, &m.fc2});
  for (const Weight* weight : weights)
    if (std::string why = WhyNotOnGpu(*weight); !why.empty()) return why;
  return {};
}

attention::Inputs VisionAttention(const VisionConfig& c, size_t rows, size_t patches) {
  attention::Inputs in;
  in.shape = {.q_len = rows,
              .kv_len = patches,
              .n_heads = c.n_heads,
              .n_kv_heads = c.n_heads,
              .head_dim = c.head_dim()};
  return in;
}

unsigned DeviceHeadDim(const VisionConfig& c) {
  return attention::MakeCudaProblem(VisionAttention(c, 1, 1), 1).head_dim;
}

VisionWeightPlaces PlaceVisionWeights(const VisionWeights& weights) {
  VisionWeightPlaces at;
  DevicePlaces places;
  for (const VisionLayerWeights& w : weights.layers)
    at.layers.push_back({.norm1 = PlaceNorm(w.norm1_w, w.norm1_b, places),
                         .norm2 = PlaceNorm(w.norm2_w, w.norm2_b, places),
                         .qkv = PlaceLinear(w.qkv, w.qkv_b, places),
                         .proj = PlaceLinear(w.proj, w.proj_b, places),
                         .fc1 = PlaceLinear(w.fc1, w.fc1_b, places),
                         .fc2 = PlaceLinear(w.fc2, w.fc2_b, places)});
  at.merger = PlaceMerger(weights.merger, places);
  for (const MergerWeights& w : weights.deepstack) at.deepstack.push_back(PlaceMerger(w, places));
  at.bytes = places.end();
  return at;
}

VisionActivationPlaces PlaceVisionActivations(const VisionConfig& config, size_t max_patches,
                                              size_t multiprocessors) {
  const size_t n = max_patches, c = std::min(n, kVisionRowsAtATime);
  const size_t joined = config.merge_size * config.merge_size, m = c / joined, wide = joined * config.dim;
  const size_t head_dim = DeviceHeadDim(config), heads = config.n_heads;
  const size_t codes = std::max(c * Padded(std::max(config.dim, config.ffn_dim)), m * Padded(wide));
  const size_t split_rows = attention::kMaxDecodeRows * heads;
  const size_t max_splits = attention::MaxSplits(heads, n, multiprocessors);
  DevicePlaces places;
  VisionActivationPlaces at{.max_patches = n};
  at.x = places.Floats({n, config.dim});
  at.q = places.Floats({n, heads, head_dim});
  at.k = places.Floats({n, heads, head_dim});
  at.v = places.Floats({n, heads, head_dim});
  at.cos = places.Floats({n, config.head_dim() / 2});
  at.sin = places.Floats({n, config.head_dim() / 2});
  at.seen = places.Take({n, sizeof(gpu::SeenRange)});
  at.normed = places.Floats({c, config.dim});
  at.qkv = places.Floats({c, 3, config.dim});
  at.attended = places.Floats({c, heads, head_dim});
  at.narrow = head_dim == config.head_dim() ? at.attended : places.Floats({c, config.dim});
  at.hidden = places.Floats({std::max(c * config.ffn_dim, m * wide)});
  at.merged = places.Floats({m, config.out_dim});
  at.codes = places.Take({codes});
  at.scales = places.Floats({codes / 32});
  at.sums = places.Floats({codes / 16});
  at.stats = places.Floats({c, heads, 2});
  at.partial = places.Floats({split_rows, max_splits, head_dim});
  at.partial_stats = places.Floats({split_rows, max_splits, 2});
  at.bytes = places.end();
  return at;
}

}  // namespace qwen3vl
