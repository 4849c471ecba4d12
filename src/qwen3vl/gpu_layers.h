// SPDX-License-Identifier: Apache-2.0
// Decoder layers on a GPU behind a plain interface: no CUDA type and no #ifdef crosses it. A build with
// QWEN3VL_CUDA=OFF links gpu_layers_none.cc, which says so.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "attention/kv_cache.h"
#include "hw/view.h"
#include "qwen3vl/gpu_tower.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/vision.h"
#include "qwen3vl/weights.h"
#include "rope/rope.h"

namespace qwen3vl {

// A placeholder token of a chunk and the row of features that takes its place.
struct VisualRow {
  size_t token = 0;  // row of the chunk
  const VisualFeatures* features = nullptr;
  size_t row = 0;
};

// What a run of layers works on: x [n, dim] is updated in place.
struct LayersStep {
  hw::MatrixView<float> x;
  const rope::RopeTable* rope = nullptr;  // [n]
  attention::KvCache* cache = nullptr;
  std::span<const VisualRow> visual;
  size_t n_deepstack = 0;   // first layers of the model after which features are added
  bool each_alone = false;  // as TextChunk has it
};

// Hidden states whose logits a GPU makes at a time: room for them is taken with the output matrix.
inline constexpr size_t kGpuOutputRows = 4;

// Layers first() .. end() - 1 of a decoder on a GPU, with their keys and values, and perhaps the output
// matrix. New keys and values also go to the cache in main memory, so that nothing is lost with the device.
class GpuLayers {
 public:
  virtual ~GpuLayers() = default;
  virtual size_t first() const = 0;
  virtual size_t end() const = 0;
  // Runs the layers from `begin` to `end`. False when the device cannot go on: step and cache are as before,
  // the cause has been reported, and no later call will try. Throws CancelledSignal when cancelled.
  virtual bool Run(const LayersStep& step, size_t begin, size_t end, Runtime& runtime) = 0;
  // logits [n, vocab_size] of the normed hidden states x [n, dim]. False when the output matrix is not there,
  // or when the device cannot go on, as Run.
  virtual bool Logits(hw::MatrixView<const float> x, hw::MatrixView<float> logits, Runtime& runtime) = 0;
};

struct GpuChoice {
  std::unique_ptr<GpuLayers> layers;  // null: all of them run on the CPU
  std::unique_ptr<GpuTower> tower;    // null: it runs on the CPU
  std::string report;                 // one line on what was chosen and why; empty when nothing was asked for
};

struct GpuRequest {
  const TextConfig* config = nullptr;
  const TextWeights* weights = nullptr;
  const VisionConfig* vision = nullptr;  // null: a text-only model
  const VisionWeights* vision_weights = nullptr;
  size_t max_patches = 0;  // of the largest picture that the options allow
  attention::KvCacheShape kv;
  const SessionOptions* options = nullptr;
};

// Chooses as SessionOptions::gpu_layers and gpu_vision ask. Never fails for want of a device: the report says
// what was missing.
GpuChoice ChooseGpu(const GpuRequest& request);

}  // namespace qwen3vl
