// SPDX-License-Identifier: Apache-2.0
// The numbers that describe a Qwen3-VL model: read once from config.json or GGUF metadata, checked once,
// constant afterwards.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qwen3vl {

// Hugging Face key (text_config.*)          GGUF key (qwen3vl.* or qwen3vlmoe.*)
struct TextConfig {
  size_t dim = 0;           // hidden_size                  embedding_length
  size_t n_layers = 0;      // num_hidden_layers            block_count
  size_t n_heads = 0;       // num_attention_heads          attention.head_count
  size_t n_kv_heads = 0;    // num_key_value_heads          attention.head_count_kv
  size_t head_dim = 0;      // head_dim                     attention.key_length
  size_t ffn_dim = 0;       // intermediate_size            feed_forward_length
  size_t vocab_size = 0;    // vocab_size                   rows of token_embd
  size_t max_seq_len = 0;   // max_position_embeddings      context_length
  float norm_eps = 1e-6f;   // rms_norm_eps                 attention.layer_norm_rms_epsilon
  double rope_theta = 5e6;  // rope_theta                   rope.freq_base
  std::array<size_t, 3> mrope_section{24, 20, 20};  // rope_scaling.mrope_section  rope.dimension_sections
  bool tied_embeddings = false;                     // tie_word_embeddings          no output.weight
  size_t n_experts = 0;                             // num_experts                  expert_count; 0: dense
  size_t n_experts_used = 0;                        // num_experts_per_tok          expert_used_count
  size_t expert_ffn_dim = 0;                        // moe_intermediate_size        expert_feed_forward_length

  size_t q_dim() const { return n_heads * head_dim; }
  size_t kv_dim() const { return n_kv_heads * head_dim; }
};

// Hugging Face key (vision_config.*)        GGUF key (clip.vision.*)
struct VisionConfig {
  size_t dim = 0;          // hidden_size                   embedding_length
  size_t n_layers = 0;     // depth                         block_count
  size_t n_heads = 0;      // num_heads                     attention.head_count
  size_t ffn_dim = 0;      // intermediate_size             feed_forward_length
  size_t out_dim = 0;      // out_hidden_size               projection_dim
  size_t patch_size = 16;  // patch_size                    patch_size
  size_t temporal_patch_size = 2;
  size_t merge_size = 2;   // spatial_merge_size            spatial_merge_size
  size_t n_positions = 0;  // num_position_embeddings       rows of v.position_embd; a square number
  std::vector<size_t> deepstack_layers;  // deepstack_visual_indexes  is_deepstack_layers
  float norm_eps = 1e-6f;                // constant of the reference, whatever a file says

  size_t head_dim() const { return dim / n_heads; }
  size_t patch_dim() const { return 3 * temporal_patch_size * patch_size * patch_size; }
};

// How pictures and clips are resized and normalised (preprocessor_config.json,
// video_preprocessor_config.json).
struct PreprocessConfig {
  size_t image_min_pixels = 65536;
  size_t image_max_pixels = 16777216;
  size_t video_min_pixels = 4096;  // bounds of frames * height * width
  size_t video_max_pixels = 25165824;
  double video_fps = 2;
  size_t video_min_frames = 4;
  size_t video_max_frames = 768;
  std::array<float, 3> mean{0.5f, 0.5f, 0.5f};
  std::array<float, 3> std{0.5f, 0.5f, 0.5f};
};

// Token ids with a meaning to the engine; -1: the model has none.
struct SpecialIds {
  int32_t image_pad = -1;
  int32_t video_pad = -1;
  int32_t vision_start = -1;
  int32_t vision_end = -1;
};

// Defaults of the sampler (generation_config.json, or general.sampling.* in a GGUF file).
struct SamplingDefaults {
  bool do_sample = true;
  float temperature = 0.7f;
  float top_p = 0.8f;
  size_t top_k = 20;
  float min_p = 0;
  float repetition_penalty = 1.0f;
  std::vector<int32_t> stop_ids;  // eos ids
};

struct ModelConfig {
  std::string name;  // general.name, or the folder's name
  TextConfig text;
  std::optional<VisionConfig> vision;  // absent: text only
  PreprocessConfig preprocess;
  SpecialIds ids;
  SamplingDefaults sampling;
};

// Throws Error(kCorruptFile) when a bound is impossible. The two names are those of the files that speak of
// pictures and of clips.
void CheckPreprocess(const PreprocessConfig& config, const std::string& image_where,
                     const std::string& video_where);

// Throws Error(kCorruptFile) with key, value and wish when a number is missing, zero, or contradicts another.
// `where`: file name for the message.
void CheckConfig(const ModelConfig& config, const std::string& where);

}  // namespace qwen3vl
