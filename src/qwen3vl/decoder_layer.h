// SPDX-License-Identifier: Apache-2.0
// One layer of the text decoder: attention with per-head norms, rotary embedding and cache, then the
// feed-forward part. Hugging Face modeling_qwen3_vl.py Qwen3VLTextDecoderLayer. The model and the public
// layers both run through here.
#pragma once

#include "attention/kv_cache.h"
#include "hw/aligned_buffer.h"
#include "qwen3vl/runtime.h"
#include "qwen3vl/weights.h"
#include "rope/rope.h"

namespace qwen3vl {

// Activations of one chunk of tokens; grown once to the chunk size and reused by all layers.
struct DecoderScratch {
  void Reserve(const TextConfig& config, size_t n_tokens);

  hw::AlignedBuffer<float> normed;       // [n, dim]
  hw::AlignedBuffer<float> q;            // [n, q_dim]
  hw::AlignedBuffer<float> k, v;         // [n, kv_dim]
  hw::AlignedBuffer<float> attended;     // [n, q_dim]
  hw::AlignedBuffer<float> gate, up;     // [n, ffn_dim]; MoE: [ExpertRows, expert_ffn_dim]
  hw::AlignedBuffer<float> rows, mixed;  // MoE: gathered tokens [ExpertRows, dim] and their results
  hw::AlignedBuffer<float> router;       // MoE: [n, n_experts]
  static size_t Bytes(const TextConfig& config, size_t n_tokens);
  // MoE: rows, each of a token for one of its experts, that are computed together.
  static size_t ExpertRows(const TextConfig& config, size_t n_tokens);
};

// What a layer works on: x [n, dim] is updated in place; `index` is the layer's place in the cache.
struct DecoderStep {
  const TextConfig* config = nullptr;
  const TextLayerWeights* weights = nullptr;
  size_t index = 0;
  std::string name;                       // "text.layer.3"
  const rope::RopeTable* rope = nullptr;  // [n]
  attention::KvCache* cache = nullptr;
  attention::Mask mask;                // causal unless the caller wants more
  bool each_alone = false;             // every token gets the bits that it would get alone; up to four
  float* attention_weights = nullptr;  // optional output [n_heads, n, kv_len]
};

// out [n, dim] = attention of the (already normalised) rows; appends their k and v to the cache.
void AttentionBlock(const DecoderStep& step, hw::MatrixView<const float> normed, hw::MatrixView<float> out,
                    bool accumulate, DecoderScratch& scratch, Runtime& runtime);

// x += attention(norm(x)); x += mlp(norm(x)).
void DecoderLayer(const DecoderStep& step, hw::MatrixView<float> x, DecoderScratch& scratch,
                  Runtime& runtime);

// y += sum over the chosen experts of weight * expert(x). Hugging Face Qwen3VLMoeTextSparseMoeBlock.
void MixtureOfExperts(const DecoderStep& step, hw::MatrixView<const float> x, hw::MatrixView<float> y,
                      DecoderScratch& scratch, Runtime& runtime);

}  // namespace qwen3vl
