// SPDX-License-Identifier: Apache-2.0
// The text decoder: token ids and image features in, logits out. Hugging Face modeling_qwen3_vl.py
// Qwen3VLTextModel.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/kv_cache.h"
#include "qwen3vl/decoder_layer.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/vision.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// A placeholder token of a chunk and the row of features that takes its place.
struct VisualRow {
  size_t token = 0;  // row of the chunk
  const VisualFeatures* features = nullptr;
  size_t row = 0;
};

struct TextChunk {
  std::span<const int32_t> ids;               // [n]
  std::span<const rope::Position> positions;  // [n]
  std::span<const VisualRow> visual;
  size_t n_deepstack =
      0;  // first layers after which a prompt with pictures gets features, in this chunk or another
};

enum class LogitsOf { kNone, kLastToken, kAllTokens };

class TextModel {
 public:
  TextModel(const TextConfig& config, const TextWeights& weights) : config_(config), weights_(weights) {}

  // Runs the chunk on top of what `cache` holds and appends its keys and values. Returns the asked logits, [1
  // or n, vocab_size], valid until the next call. Throws CancelledSignal when cancelled: the caller truncates
  // the cache to its length before.
  std::span<const float> Forward(const TextChunk& chunk, attention::KvCache& cache, LogitsOf logits,
                                 Runtime& runtime);

  // Bytes of activations for chunks of up to n tokens.
  static size_t ScratchBytes(const TextConfig& config, size_t n_tokens);

 private:
  void Embed(const TextChunk& chunk, hw::MatrixView<float> x) const;

  const TextConfig& config_;
  const TextWeights& weights_;
  DecoderScratch scratch_;
  hw::AlignedBuffer<float> x_;       // [n, dim]
  hw::AlignedBuffer<float> logits_;  // [1 or n, vocab_size]
};

}  // namespace qwen3vl
