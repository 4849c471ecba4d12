// SPDX-License-Identifier: Apache-2.0
// The tensors of a model, bound by one table from the names of either file format and checked against the
// config. Matrices stay where the file is mapped; small vectors (norms, biases) are held as float32.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hw/aligned_buffer.h"
#include "qwen3vl/config.h"
#include "qwen3vl/linear.h"

namespace qwen3vl {

using Vector = hw::AlignedBuffer<float>;

struct TextLayerWeights {
  Vector attn_norm, ffn_norm;                               // [dim]
  Vector q_norm, k_norm;                                    // [head_dim]
  Weight q, k, v;                                           // [q_dim | kv_dim, dim]
  Weight o;                                                 // [dim, q_dim]
  Weight gate, up, down;                                    // dense: [ffn_dim, dim] x 2, [dim, ffn_dim]
  Weight router;                                            // MoE: [n_experts, dim]
  std::vector<Weight> expert_gate, expert_up, expert_down;  // MoE: one matrix an expert, as [out, in]
};

struct TextWeights {
  Weight embed;   // [vocab_size, dim]
  Weight output;  // [vocab_size, dim]; the same bytes as embed when tied
  Vector final_norm;
  std::vector<TextLayerWeights> layers;
};

struct MergerWeights {
  Vector norm_w, norm_b;  // [dim] (main) or [dim * merge^2] (deepstack)
  Weight fc1, fc2;        // [4 dim, 4 dim], [out_dim, 4 dim]
  Vector fc1_b, fc2_b;
};

struct VisionLayerWeights {
  Vector norm1_w, norm1_b, norm2_w, norm2_b;  // [dim]
  Weight qkv, proj, fc1, fc2;                 // [3 dim, dim], [dim, dim], [ffn_dim, dim], [dim, ffn_dim]
  Vector qkv_b, proj_b, fc1_b, fc2_b;
};

struct VisionWeights {
  Weight patch_embed;  // [dim, 3 * 2 * 16 * 16], element order channel, time, row, column
  Vector patch_embed_b;
  Vector position_embed;  // [n_positions, dim]
  std::vector<VisionLayerWeights> layers;
  MergerWeights merger;
  std::vector<MergerWeights> deepstack;  // in the order of VisionConfig::deepstack_layers
};

// One tensor as a file lists it, for `inspect`.
struct TensorEntry {
  std::string name;
  std::string file;
  hw::Format format;
  std::vector<size_t> shape;  // outermost first
  size_t bytes = 0;
};

// What a tokenizer needs from a model's files, whichever form it has there.
struct TokenizerSource {
  std::string folder;  // Hugging Face folder with tokenizer.json or vocab.json + merges.txt; or empty:
  std::string file;    // GGUF file, for messages
  std::vector<std::string> tokens;   // GGUF tokenizer.ggml.tokens (byte-mapped)
  std::vector<int32_t> token_types;  // GGUF tokenizer.ggml.token_type
  std::vector<std::string> merges;   // GGUF tokenizer.ggml.merges
  std::string chat_template;         // Jinja text, empty when there is none
};

struct ModelFiles {
  ModelConfig config;
  TextWeights text;
  VisionWeights vision;  // empty when config.vision is absent
  TokenizerSource tokenizer;
  std::vector<TensorEntry> tensors;
  std::vector<std::string> warnings;          // what is odd but usable
  std::vector<std::shared_ptr<void>> owners;  // mapped files and the few tensors that had to be rebuilt
};

struct LoadModelFilesOptions {
  std::string mmproj{};      // vision GGUF; empty: look beside the text file
  bool header_only = false;  // config and tensor list alone, no weights bound (inspect)
  bool text_only = false;    // look for no vision file (tokenize)
  std::function<bool(size_t done_bytes, size_t total_bytes)> progress{};  // false: cancel, Error(kCancelled)
};

// `path`: a Hugging Face folder, a .gguf file (any part of a split one). Throws Error.
ModelFiles LoadModelFiles(const std::string& path, const LoadModelFilesOptions& options = {});

}  // namespace qwen3vl
