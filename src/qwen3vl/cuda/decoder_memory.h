// SPDX-License-Identifier: Apache-2.0
// The device memory of a run of decoder layers, known before any of it is allocated: weights, keys and values
// of the whole context, and the activations of one chunk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attention/cuda/attention_params.h"
#include "attention/kv_cache.h"
#include "qwen3vl/cuda/device_weight.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

struct PlacedLayer {
  PlacedWeight q, k, v, o;
  PlacedWeight router;                   // of a mixture of experts
  PlacedWeight gate, up, down;           // of a mixture: expert 0's, which the others follow
  size_t attn_norm = 0, ffn_norm = 0;    // floats
  std::optional<size_t> q_norm, k_norm;  // where there are any
};

// Layers first .. end - 1 of the model.
struct LayerRange {
  size_t first = 0, end = 0;
  size_t size() const { return end - first; }
};

// Offsets into the block of activations, and how many rows it is made for.
struct PlacedActivations {
  size_t max_rows = 0;
  size_t staged_rows = 0;  // of one tensor: new keys, then as many new values, on their way to the host
  size_t x = 0, normed = 0, q = 0, q_wide = 0, attended = 0, attended_narrow = 0, gate = 0, up = 0;
  size_t codes = 0, scales = 0, sums = 0;
  size_t logits = 0, experts = 0, expert_weights = 0, order = 0, tiles = 0, mixed = 0;  // of a mixture
  size_t cos = 0, sin = 0, seen = 0, features = 0, feature_rows = 0;
  size_t stats = 0, partial = 0, partial_stats = 0, staged = 0;
};

struct DecoderMemory {
  std::vector<PlacedLayer> layers;
  PlacedActivations at;
  gpu::KvFormat kv_format = gpu::KvFormat::kF32;
  unsigned head_dim = 0;  // columns of a row of keys: the model's, or the next that the kernels have
  size_t kv_rows_bytes = 0, kv_scale_bytes = 0;  // of the keys, or the values, of one layer
  size_t weight_bytes = 0, kv_bytes = 0, activation_bytes = 0;
  size_t total() const { return weight_bytes + kv_bytes + activation_bytes; }
};

// Why the GPU cannot run this layer, or an empty text: "q5_K weights (only f32, ...)".
std::string WhyNotOnGpu(const TextConfig& config, const TextLayerWeights& weights,
                        const attention::KvCacheShape& kv);

// Precondition: nothing speaks against any of the layers. Throws Error(kInvalidArgument) when sizes overflow.
DecoderMemory PlaceDecoder(const TextConfig& config, const TextWeights& weights, LayerRange range,
                           const attention::KvCacheShape& kv, size_t max_rows, size_t multiprocessors);

}  // namespace qwen3vl
