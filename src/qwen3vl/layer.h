// SPDX-License-Identifier: Apache-2.0
// Public building blocks for apps that bring their own model: an attention layer and a whole transformer
// layer, each with its own key/value cache, adapted to the machine by the factory functions. The same code
// runs inside the Qwen3-VL decoder.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "qwen3vl/export.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

struct LayerShape {
  size_t dim = 4096;  // width of the hidden states
  size_t n_heads = 32;
  size_t n_kv_heads = 8;      // divides n_heads
  size_t head_dim = 128;      // even, at most 256 on the tiled path
  size_t ffn_dim = 12288;     // transformer layer only
  size_t max_seq_len = 4096;  // tokens the cache holds
  float norm_eps = 1e-6f;
  double rope_theta = 5e6;
  std::array<size_t, 3> mrope_section{24, 20, 20};  // sums to head_dim / 2
};

// Row-major [outputs, inputs] float32 matrices. They stay the caller's and must outlive the layer; norms are
// copied.
struct AttentionLayerWeights {
  const float* q = nullptr;       // [n_heads * head_dim, dim]
  const float* k = nullptr;       // [n_kv_heads * head_dim, dim]
  const float* v = nullptr;       // [n_kv_heads * head_dim, dim]
  const float* o = nullptr;       // [dim, n_heads * head_dim]
  const float* q_norm = nullptr;  // [head_dim], or null: queries are not normalised
  const float* k_norm = nullptr;  // [head_dim], or null
};

struct TransformerLayerWeights {
  AttentionLayerWeights attention;
  const float* attn_norm = nullptr;  // [dim]
  const float* ffn_norm = nullptr;   // [dim]
  const float* gate = nullptr;       // [ffn_dim, dim]
  const float* up = nullptr;         // [ffn_dim, dim]
  const float* down = nullptr;       // [dim, ffn_dim]
};

struct LayerOptions {
  size_t threads = 0;  // at most 1024; 0: as `qwen3vl bench tune` measured, else the physical fast cores
  size_t tile = 0;     // 0: as measured, else by hardware
  AttentionChoice attention = AttentionChoice::kAuto;
  KvType kv_type = KvType::kF32;
  CpuProducts cpu_products = CpuProducts::kAuto;
  bool check_finite = false;
  LogFn log;  // told once per cause when a path falls back
};

struct TokenPosition {
  int32_t t = 0, h = 0, w = 0;  // alike for text
};

struct LayerInput {
  std::span<const float> hidden;             // [n, dim]
  std::span<const TokenPosition> positions;  // [n]
  const uint8_t* allowed = nullptr;          // [n, length() + n], 0: hidden; on top of causality
  float* attention_weights = nullptr;  // optional output [n_heads, n, length() + n]: takes the standard path
};

// hidden -> q, k, v -> norms -> rotary embedding -> cache -> attention -> output projection. Causal over the
// tokens seen so far.
class QWEN3VL_API AttentionLayer {
 public:
  ~AttentionLayer();
  // out [n, dim]. Appends n tokens to the cache, which is as before when this throws.
  // Throws Error: kInvalidArgument (sizes that contradict, a full cache), kOutOfMemory.
  void Forward(const LayerInput& input, std::span<float> out);
  size_t length() const;            // tokens in the cache
  void Truncate(size_t length);     // forgets the tokens from there on
  std::string tile_reason() const;  // "i5-10210U: prescribed 64"
  std::string paths() const;        // which ran so far, and why one fell back

 private:
  friend std::unique_ptr<AttentionLayer> MakeAttentionLayer(const LayerShape&, const AttentionLayerWeights&,
                                                            const LayerOptions&);
  struct Impl;
  explicit AttentionLayer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// x + attention(norm(x)), then x + down(silu(gate(norm(x))) * up(norm(x))).
class QWEN3VL_API TransformerLayer {
 public:
  ~TransformerLayer();
  // As those of AttentionLayer.
  void Forward(const LayerInput& input, std::span<float> out);
  size_t length() const;
  void Truncate(size_t length);
  std::string tile_reason() const;
  std::string paths() const;

 private:
  friend std::unique_ptr<TransformerLayer> MakeTransformerLayer(const LayerShape&,
                                                                const TransformerLayerWeights&,
                                                                const LayerOptions&);
  struct Impl;
  explicit TransformerLayer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Probe the machine, choose path, tile and threads for it, and make the layer.
// Throw Error: kInvalidArgument (contradictory shapes, missing weights, too many threads), kUnsupported
// (kQ8_0 where head_dim is not a multiple of 32), kOutOfMemory (the cache does not fit).
QWEN3VL_API std::unique_ptr<AttentionLayer> MakeAttentionLayer(const LayerShape& shape,
                                                               const AttentionLayerWeights& weights,
                                                               const LayerOptions& options = {});
QWEN3VL_API std::unique_ptr<TransformerLayer> MakeTransformerLayer(const LayerShape& shape,
                                                                   const TransformerLayerWeights& weights,
                                                                   const LayerOptions& options = {});

}  // namespace qwen3vl
