// SPDX-License-Identifier: Apache-2.0
// The device memory of the vision tower, known before any of it is taken: weights, and the activations of a
// number of patches.
#pragma once

#include <string>
#include <vector>

#include "attention/cuda/cuda_problem.h"
#include "qwen3vl/cuda/device_weight.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// Offsets into the block of weights; of vectors: floats.
struct PlacedNorm {
  size_t weight = 0, bias = 0;
};
struct PlacedVisionLayer {
  PlacedNorm norm1, norm2;
  PlacedWeight qkv, proj, fc1, fc2;
};
struct PlacedMerger {
  PlacedNorm norm;
  PlacedWeight fc1, fc2;
};

struct VisionWeightPlaces {
  std::vector<PlacedVisionLayer> layers;
  PlacedMerger merger;
  std::vector<PlacedMerger> deepstack;
  size_t bytes = 0;
};

// Offsets into the block of activations. n: patches; c: patches that all but keys and values are computed
// for at a time; m: merged tokens of c patches.
struct VisionActivationPlaces {
  size_t max_patches = 0;
  size_t x = 0, q = 0, k = 0, v = 0;                 // [n, dim], then [n, n_heads, D] each
  size_t cos = 0, sin = 0, seen = 0;                 // [n, head_dim / 2], [n]
  size_t normed = 0, qkv = 0;                        // [c, dim], [c, 3 dim]
  size_t attended = 0, narrow = 0;                   // [c, n_heads, D], [c, dim]
  size_t hidden = 0;                                 // [c, ffn_dim] or [m, merge^2 dim]
  size_t merged = 0;                                 // [m, out_dim]
  size_t codes = 0, scales = 0, sums = 0;            // of c rows
  size_t stats = 0, partial = 0, partial_stats = 0;  // of the attention
  size_t bytes = 0;
};

inline constexpr size_t kVisionRowsAtATime = 1024;  // c

// Why the GPU cannot run this tower, or an empty text.
std::string WhyNotOnGpu(const VisionConfig& config, const VisionWeights& weights);

// Columns of a head on the device: the model's, or the next that the kernels have.
unsigned DeviceHeadDim(const VisionConfig& config);

// Precondition: nothing speaks against the tower. Both throw Error(kInvalidArgument) when sizes overflow.
VisionWeightPlaces PlaceVisionWeights(const VisionWeights& weights);
VisionActivationPlaces PlaceVisionActivations(const VisionConfig& config, size_t max_patches,
                                              size_t multiprocessors);

// The attention of `rows` patches on `patches`, all of them in pieces that do not see each other.
attention::Inputs VisionAttention(const VisionConfig& config, size_t rows, size_t patches);

}  // namespace qwen3vl
