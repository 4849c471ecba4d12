// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/config.h"

#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

// Far beyond every published model; keeps all later products of these numbers inside 64 bits.
constexpr size_t kMaxWidth = size_t{1} << 20;
constexpr size_t kMaxLayers = 1024;
constexpr size_t kMaxHeads = 4096;
constexpr size_t kMaxVocab = size_t{1} << 24;
constexpr size_t kMaxContext = size_t{1} << 30;
constexpr size_t kMaxPixels = size_t{1} << 30;

class Checker {
 public:
  explicit Checker(const std::string& where) : where_(where) {}

  [[noreturn]] void Fail(std::string_view what, const std::string& found, const std::string& wanted) const {
    throw Error(ErrorCode::kCorruptFile,
                where_ + ": " + std::string(what) + " is " + found + ", want " + wanted);
  }
  void Range(std::string_view what, size_t value, size_t min, size_t max) const {
    if (value < min || value > max)
      Fail(what, std::to_string(value), std::to_string(min) + " to " + std::to_string(max));
  }
  void Divides(std::string_view what, size_t value, std::string_view by, size_t divisor) const {
    if (value % divisor != 0)
      Fail(what, std::to_string(value), "a multiple of " + std::string(by) + " " + std::to_string(divisor));
  }
  void Inside(std::string_view what, double value, double min, double max) const {
    if (!(value >= min && value <= max))
      Fail(what, std::to_string(value), std::to_string(min) + " to " + std::to_string(max));
  }
  void Id(std::string_view what, int32_t id, size_t vocab_size) const {
    if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= vocab_size))
      Fail(what, std::to_string(id), "an id below vocab_size " + std::to_string(vocab_size));
  }

 private:
  const std::string& where_;
};

void CheckText(const TextConfig& t, const Checker& check) {
  check.Range("hidden_size", t.dim, 1, kMaxWidth);
  check.Range("num_hidden_layers", t.n_layers, 1, kMaxLayers);
  check.Range("num_attention_heads", t.n_heads, 1, kMaxHeads);
  check.Range("num_key_value_heads", t.n_kv_heads, 1, t.n_heads);
  check.Divides("num_attention_heads", t.n_heads, "num_key_value_heads", t.n_kv_heads);
  check.Range("head_dim", t.head_dim, 2, kMaxHeads);
  check.Range("num_attention_heads * head_dim", t.q_dim(), 1, kMaxWidth);
  check.Divides("head_dim", t.head_dim, "two", 2);
  check.Range("vocab_size", t.vocab_size, 1, kMaxVocab);
  check.Range("max_position_embeddings", t.max_seq_len, 1, kMaxContext);
  check.Inside("rms_norm_eps", t.norm_eps, 0, 1);
  check.Inside("rope_theta", t.rope_theta, 1, 1e12);
  const size_t half = t.head_dim / 2;
  for (const size_t section : t.mrope_section) check.Range("a part of mrope_section", section, 0, half);
  const size_t sum = t.mrope_section[0] + t.mrope_section[1] + t.mrope_section[2];
  if (sum != half)
    check.Fail("the sum of mrope_section", std::to_string(sum), "half of head_dim, " + std::to_string(half));
  if (t.n_experts == 0) {
    check.Range("intermediate_size", t.ffn_dim, 1, kMaxWidth);
    return;
  }
  check.Range("num_experts", t.n_experts, 1, kMaxHeads);
  check.Range("num_experts_per_tok", t.n_experts_used, 1, t.n_experts);
  check.Range("moe_intermediate_size", t.expert_ffn_dim, 1, kMaxWidth);
}

void CheckVision(const VisionConfig& v, const TextConfig& t, const Checker& check) {
  check.Range("vision hidden_size", v.dim, 1, kMaxWidth);
  check.Range("vision depth", v.n_layers, 1, kMaxLayers);
  check.Range("vision num_heads", v.n_heads, 1, v.dim);
  check.Divides("vision hidden_size", v.dim, "num_heads", v.n_heads);
  // Row and column angles take half of the rotated pairs each.
  check.Divides("vision head_dim", v.head_dim(), "four", 4);
  check.Range("vision intermediate_size", v.ffn_dim, 1, kMaxWidth);
  check.Range("patch_size", v.patch_size, 1, 256);
  check.Range("temporal_patch_size", v.temporal_patch_size, 1, 16);
  check.Range("spatial_merge_size", v.merge_size, 1, 16);
  check.Range("num_position_embeddings", v.n_positions, 1, kMaxVocab);
  const auto side = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(v.n_positions))));
  if (side * side != v.n_positions)
    check.Fail("num_position_embeddings", std::to_string(v.n_positions), "a square number");
  if (v.out_dim != t.dim)
    check.Fail(
        "out_hidden_size of the vision tower", std::to_string(v.out_dim),
        "hidden_size of the text model, " + std::to_string(t.dim) + ": do both belong to the same model?");
  for (size_t i = 0; i < v.deepstack_layers.size(); ++i) {
    const size_t layer = v.deepstack_layers[i];
    if (layer >= v.n_layers)
      check.Fail("a deepstack index", std::to_string(layer), "one below depth " + std::to_string(v.n_layers));
    if (i > 0 && layer <= v.deepstack_layers[i - 1])
      check.Fail("a deepstack index", std::to_string(layer),
                 "one above the index before it, " + std::to_string(v.deepstack_layers[i - 1]));
  }
  check.Range("the number of deepstack indexes", v.deepstack_layers.size(), 0, t.n_layers);
}

// Prompts are taken apart by these ids.
void CheckDistinct(const SpecialIds& ids, const Checker& check) {
  const std::pair<std::string_view, int32_t> named[] = {{"image_token_id", ids.image_pad},
                                                        {"video_token_id", ids.video_pad},
                                                        {"vision_start_token_id", ids.vision_start},
                                                        {"vision_end_token_id", ids.vision_end}};
  for (const auto& [name, id] : named)
    for (const auto& [other, taken] : named) {
      if (name == other) break;
      if (id >= 0 && id == taken)
        check.Fail(name, std::to_string(id), "another id than " + std::string(other));
    }
}

}  // namespace

void CheckPreprocess(const PreprocessConfig& p, const std::string& image_where,
                     const std::string& video_where) {
  const Checker image(image_where), video(video_where);
  image.Range("image max_pixels", p.image_max_pixels, 1, kMaxPixels);
  image.Range("image min_pixels", p.image_min_pixels, 1, p.image_max_pixels);
  video.Range("video max_pixels", p.video_max_pixels, 1, kMaxPixels);
  video.Range("video min_pixels", p.video_min_pixels, 1, p.video_max_pixels);
  video.Range("video max_frames", p.video_max_frames, 1, kMaxWidth);
  video.Range("video min_frames", p.video_min_frames, 1, p.video_max_frames);
  video.Inside("video fps", p.video_fps, 1e-3, 1e3);
  for (size_t c = 0; c < 3; ++c) {
    image.Inside("image_mean", p.mean[c], -1e3, 1e3);
    image.Inside("image_std", p.std[c], 1e-6, 1e3);
  }
}

void CheckConfig(const ModelConfig& config, const std::string& where) {
  const Checker check(where);
  CheckText(config.text, check);
  if (config.vision) CheckVision(*config.vision, config.text, check);
  CheckPreprocess(config.preprocess, where, where);
  const size_t vocab = config.text.vocab_size;
  check.Id("image_token_id", config.ids.image_pad, vocab);
  check.Id("video_token_id", config.ids.video_pad, vocab);
  check.Id("vision_start_token_id", config.ids.vision_start, vocab);
  check.Id("vision_end_token_id", config.ids.vision_end, vocab);
  CheckDistinct(config.ids, check);
  for (const int32_t id : config.sampling.stop_ids) check.Id("eos_token_id", id, vocab);
  check.Inside("temperature", config.sampling.temperature, 0, 100);
  check.Inside("top_p", config.sampling.top_p, 0, 1);
  check.Inside("min_p", config.sampling.min_p, 0, 1);
  check.Inside("repetition_penalty", config.sampling.repetition_penalty, 1e-3, 100);
}

}  // namespace qwen3vl
