// SPDX-License-Identifier: Apache-2.0
// The vision tower: patches of pictures and clips in, one row of features a merged token out.
// Hugging Face modeling_qwen3_vl.py Qwen3VLVisionModel.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hw/aligned_buffer.h"
#include "qwen3vl/config.h"
#include "qwen3vl/gpu_tower.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/weights.h"
#include "rope/positions.h"
#include "rope/rope.h"

namespace qwen3vl {

// Features of the merged tokens of one or more pictures, in order.
struct VisualFeatures {
  size_t n_tokens = 0;
  size_t dim = 0;                 // of the text decoder
  hw::AlignedBuffer<float> main;  // [n_tokens, dim]
  // [n_tokens, dim] each; number j is added after text layer j.
  std::vector<hw::AlignedBuffer<float>> deepstack;

  const float* main_row(size_t i) const { return main.data() + i * dim; }
  const float* deepstack_row(size_t j, size_t i) const { return deepstack[j].data() + i * dim; }
};

// Activations of n patches.
struct VisionScratch {
  VisionScratch(const VisionConfig& config, size_t n_patches);

  size_t n;
  hw::AlignedBuffer<float> x;         // [n, dim]
  hw::AlignedBuffer<float> normed;    // [n, dim]
  hw::AlignedBuffer<float> qkv;       // [n, 3 * dim]
  hw::AlignedBuffer<float> attended;  // [n, dim]
  hw::AlignedBuffer<float> hidden;    // [VisionModel::kRowsAtATime, ffn_dim]
};

class VisionModel {
 public:
  VisionModel(const VisionConfig& config, const VisionWeights& weights)
      : config_(config), weights_(weights) {}

  // Hands blocks and mergers to a GPU, from the next call on.
  void UseGpu(std::unique_ptr<GpuTower> gpu) { gpu_ = std::move(gpu); }

  // patches [sum t*h*w, patch_dim] of all grids. `prefix` starts the names of the trace ("vision").
  // `on_block(done)` runs after every block; throws CancelledSignal when cancelled.
  VisualFeatures Encode(std::span<const float> patches, std::span<const rope::Grid> grids,
                        const std::string& prefix, const std::function<void(size_t)>& on_block,
                        Runtime& runtime) const;

  // Block `index` on s.x, in place; `name` is its name in a trace or a profile.
  void Block(size_t index, const std::string& name, const rope::RopeTable& rope,
             std::span<const size_t> segments, VisionScratch& s, Runtime& runtime) const;

  // Bytes of activations, features included, for n patches.
  static size_t ScratchBytes(const VisionConfig& config, size_t n_patches);

  // Rows of the MLP and the mergers that are computed at a time: bounds their scratch.
  static constexpr size_t kRowsAtATime = 1024;

 private:
  void EmbedPatches(std::span<const float> patches, std::span<const rope::Grid> grids,
                    const std::string& prefix, VisionScratch& s, Runtime& runtime) const;
  // All blocks and mergers.
  void RunBlocks(const VisionStep& step, VisionScratch& s, VisualFeatures& features, Runtime& runtime) const;
  void Merge(const MergerWeights& w, bool norm_before_concat, const VisionScratch& s, float* out,
             Runtime& runtime) const;

  const VisionConfig& config_;
  const VisionWeights& weights_;
  std::unique_ptr<GpuTower> gpu_;
};

// The learned position table [side * side, dim] sampled with aligned corners for every patch of the grids, in
// merge-block order; adds the rows to x [sum t*h*w, dim]. Bilinear, float32.
void AddPositionEmbedding(std::span<const float> table, size_t dim, std::span<const rope::Grid> grids,
                          size_t merge_size, hw::MatrixView<float> x, hw::Threads threads);

}  // namespace qwen3vl
