// SPDX-License-Identifier: Apache-2.0
// The text decoder: token ids and image features in, logits out. Hugging Face modeling_qwen3_vl.py
// Qwen3VLTextModel.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "attention/kv_cache.h"
#include "qwen3vl/decoder_layer.h"
#include "qwen3vl/gpu_layers.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/vision.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

struct TextChunk {
  std::span<const int32_t> ids;               // [n]
  std::span<const rope::Position> positions;  // [n]
  std::span<const VisualRow> visual;
  // First layers after which a prompt with pictures gets features, in this chunk or another.
  size_t n_deepstack = 0;
  // Every token gets the keys, values and logits that it would get in a chunk of its own, to the bit. For up
  // to kMaxEachAlone tokens, none of them visual.
  bool each_alone = false;
};

inline constexpr size_t kMaxEachAlone = 4;  // what products of a few rows do so (linear.h)

enum class LogitsOf { kNone, kLastToken, kAllTokens };

class TextModel {
 public:
  TextModel(const TextConfig& config, const TextWeights& weights) : config_(config), weights_(weights) {}

  // Hands layers to a GPU, from the next call on.
  void UseGpu(std::unique_ptr<GpuLayers> gpu) { gpu_ = std::move(gpu); }

  // Runs the chunk on top of what `cache` holds and appends its keys and values. Returns the asked logits, [1
  // or n, vocab_size], valid until the next call. Throws CancelledSignal when cancelled: the caller truncates
  // the cache to its length before.
  std::span<const float> Forward(const TextChunk& chunk, attention::KvCache& cache, LogitsOf logits,
                                 Runtime& runtime);

  // Bytes of activations for chunks of up to n tokens: of the layers, and with the logits of an answer.
  static size_t LayerScratchBytes(const TextConfig& config, size_t n_tokens);
  static size_t ScratchBytes(const TextConfig& config, size_t n_tokens);

 private:
  void Embed(const TextChunk& chunk, hw::MatrixView<float> x) const;
  // Layer i and perhaps those after it, features included. Returns the layer to go on with.
  size_t RunLayers(size_t i, const LayersStep& layers, DecoderStep& step, Runtime& runtime);
  void RunLayer(size_t i, const LayersStep& layers, DecoderStep& step, Runtime& runtime);

  const TextConfig& config_;
  const TextWeights& weights_;
  std::unique_ptr<GpuLayers> gpu_;
  DecoderScratch scratch_;
  hw::AlignedBuffer<float> x_;       // [n, dim]
  hw::AlignedBuffer<float> logits_;  // [1 or n, vocab_size]
};

}  // namespace qwen3vl
