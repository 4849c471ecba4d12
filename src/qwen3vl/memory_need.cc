// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/memory_need.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "attention/kv_cache.h"
#include "hw/checked.h"
#include "qwen3vl/gpu_layers.h"
#include "qwen3vl/image.h"
#include "qwen3vl/kv_type.h"
#include "qwen3vl/text.h"
#include "qwen3vl/vision.h"

namespace qwen3vl {
namespace {

// The text layer that a tensor belongs to, by its name in either file format.
std::optional<size_t> TextLayerOf(std::string_view name) {
  for (std::string_view prefix : {"blk.", "model.language_model.layers.", "model.layers."}) {
    if (!name.starts_with(prefix)) continue;
    size_t layer = 0;
    const char* digits = name.data() + prefix.size();
    if (std::from_chars(digits, name.data() + name.size(), layer).ec == std::errc()) return layer;
  }
  return std::nullopt;
}

constexpr const char* kGpuMemory = "memory on the GPU";

// Of a block or a merger of the vision tower; patches are embedded on the CPU.
bool IsOfTower(std::string_view name) {
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  return (begins("v.") && !begins("v.patch_embd") && !begins("v.position_embd")) || begins("mm.") ||
         begins("model.visual.blocks.") || begins("model.visual.merger.") ||
         begins("model.visual.deepstack_merger_list.");
}

// Of the matrix that logits are made with.
bool IsOutput(std::string_view name, bool tied) {
  return tied ? name == "token_embd.weight" || name.ends_with("embed_tokens.weight")
              : name == "output.weight" || name == "lm_head.weight";
}

// Whether the vision tower may come to lie on a GPU.
bool MayUseGpu(const SessionOptions& o) {
  return o.gpu_vision == GpuVision::kOn ||
         (o.gpu_vision == GpuVision::kAuto && o.gpu_layers == kAutoGpuLayers);
}

// Activations of the tower on a GPU: hidden states, queries, keys and values of all patches, the rest of
// some.
size_t TowerScratchBytes(const VisionConfig& c, size_t patches) {
  const size_t rows = std::min(patches, VisionModel::kRowsAtATime);
  const size_t all = hw::CheckedProduct({patches, 4 * c.dim + c.head_dim(), sizeof(float)}, kGpuMemory);
  return hw::CheckedAdd(all, rows * (6 * c.dim + 2 * c.ffn_dim) * sizeof(float), kGpuMemory);
}

// Activations of n tokens in layers on a GPU: as on the CPU, but that a mixture's experts, of which the CPU
// takes some at a time, are computed for all tokens at once.
size_t GpuScratchBytes(const TextConfig& c, size_t n) {
  const size_t bytes = TextModel::LayerScratchBytes(c, n);
  if (!c.n_experts) return bytes;
  const size_t on_cpu = DecoderScratch::ExpertRows(c, n) * 2 * (c.dim + c.expert_ffn_dim) * sizeof(float);
  const size_t at_once = hw::CheckedProduct({c.n_experts_used, 2 * c.expert_ffn_dim + c.dim}, kGpuMemory);
  return hw::CheckedAdd(bytes - on_cpu, hw::CheckedProduct({n, at_once, sizeof(float)}, kGpuMemory),
                        kGpuMemory);
}

}  // namespace

size_t ContextOf(const ModelConfig& config, const SessionOptions& options) {
  const size_t asked = options.context ? options.context : kDefaultContext;
  if (options.context > config.text.max_seq_len)
    throw Error(ErrorCode::kInvalidArgument, "context: " + std::to_string(options.context) + " tokens, but " +
                                                 config.name + " was made for at most " +
                                                 std::to_string(config.text.max_seq_len));
  return std::min(asked, config.text.max_seq_len);
}

FittedTokens FitTokens(const ModelConfig& config, const SessionOptions& options) {
  if (!config.vision || !options.pictures_to_fit) return {};
  const PreprocessConfig& p = config.preprocess;
  const size_t side = config.vision->patch_size * config.vision->merge_size;
  const size_t share = ContextOf(config, options) / 2 / options.pictures_to_fit;
  const size_t picture = std::max({share, options.min_image_tokens, size_t{1}});
  const size_t clip = std::max(share, size_t{1});
  const bool lowers_picture = picture < p.image_max_pixels / (side * side);
  const bool lowers_clip = clip < p.video_max_pixels / (side * side * config.vision->temporal_patch_size);
  return {.picture = lowers_picture && !options.max_image_tokens ? picture : 0,
          .clip = lowers_clip && !options.max_video_tokens ? clip : 0};
}

PreprocessConfig PreprocessOf(const ModelConfig& config, const SessionOptions& options) {
  PreprocessConfig p = config.preprocess;
  if (!config.vision) return p;
  const size_t side = config.vision->patch_size * config.vision->merge_size;
  const FittedTokens fitted = FitTokens(config, options);
  if (fitted.picture) {
    p.image_max_pixels = fitted.picture * side * side;
    p.image_min_pixels = std::min(p.image_min_pixels, p.image_max_pixels);
  }
  // Bounds of clips count the pixels of all frames, of which temporal_patch_size share their tokens.
  if (const size_t most = fitted.clip ? fitted.clip : options.max_video_tokens) {
    p.video_max_pixels =
        hw::CheckedProduct({most, side, side, config.vision->temporal_patch_size}, "max video tokens");
    p.video_min_pixels = std::min(p.video_min_pixels, p.video_max_pixels);
  }
  if (options.min_image_tokens)
    p.image_min_pixels = hw::CheckedProduct({options.min_image_tokens, side, side}, "min image tokens");
  if (options.max_image_tokens)
    p.image_max_pixels = hw::CheckedProduct({options.max_image_tokens, side, side}, "max image tokens");
  // One bound alone may pass the file's other bound; the asked one wins.
  if (p.image_min_pixels > p.image_max_pixels) {
    if (options.min_image_tokens && options.max_image_tokens)
      throw Error(ErrorCode::kInvalidArgument,
                  "min image tokens: " + std::to_string(options.min_image_tokens) +
                      ", want at most max image tokens, " + std::to_string(options.max_image_tokens));
    (options.max_image_tokens ? p.image_min_pixels : p.image_max_pixels) =
        options.max_image_tokens ? p.image_max_pixels : p.image_min_pixels;
  }
  return p;
}

MemoryNeed EstimateMemory(const ModelConfig& config, size_t weight_bytes, const SessionOptions& options,
                          VisualSize largest) {
  MemoryNeed need;
  need.weights = weight_bytes;
  const TextConfig& t = config.text;
  const size_t context = ContextOf(config, options);
  need.kv_cache = attention::KvCache::BytesFor({.n_layers = t.n_layers,
                                                .n_kv_heads = t.n_kv_heads,
                                                .head_dim = t.head_dim,
                                                .capacity = context,
                                                .format = ToFormat(options.kv_type)});
  need.text_stage = TextModel::ScratchBytes(t, std::min(options.prefill_chunk, context));
  if (config.vision && largest.width && largest.height) {
    const size_t patches = PatchesOf(config, options, largest);
    const size_t pixels = patches * config.vision->patch_size * config.vision->patch_size;
    const size_t decoded =
        hw::CheckedProduct({largest.width, largest.height, largest.frames, 3}, "image stage");
    need.image_stage = hw::CheckedAdd(VisionModel::ScratchBytes(*config.vision, patches),
                                      hw::CheckedAdd(decoded, 3 * pixels, "image stage"), "image stage");
  }
  return need;
}

size_t PatchesOf(const ModelConfig& config, const SessionOptions& options, VisualSize in) {
  const VisionConfig& v = *config.vision;
  const PreprocessConfig p = PreprocessOf(config, options);
  const bool clip = in.frames > 1;
  const ImageSize size = clip ? ClipSize(in.frames, {in.height, in.width}, v, p)
                              : SmartResize({in.height, in.width}, v.patch_size * v.merge_size,
                                            p.image_min_pixels, p.image_max_pixels);
  const size_t groups = clip ? (in.frames + v.temporal_patch_size - 1) / v.temporal_patch_size : 1;
  return groups * (size.height / v.patch_size) * (size.width / v.patch_size);
}

size_t MaxPatches(const ModelConfig& config, const SessionOptions& options) {
  const size_t side = config.vision->patch_size;
  return PreprocessOf(config, options).image_max_pixels / (side * side);
}

size_t EstimateGpuMemory(const ModelConfig& config, std::span<const TensorEntry> tensors,
                         const SessionOptions& options, VisualSize largest) {
  const TextConfig& t = config.text;
  const size_t n = std::min(options.gpu_layers, t.n_layers);
  size_t bytes = 0;
  if (n) {
    const size_t context = ContextOf(config, options);
    bytes = attention::KvCache::BytesFor({.n_layers = n,
                                          .n_kv_heads = t.n_kv_heads,
                                          .head_dim = t.head_dim,
                                          .capacity = context,
                                          .format = ToFormat(options.kv_type)});
    bytes = hw::CheckedAdd(bytes, GpuScratchBytes(t, std::min(options.prefill_chunk, context)), kGpuMemory);
  }
  const bool tower = config.vision && MayUseGpu(options);
  if (tower) {
    const size_t room = std::min(MaxPatches(config, options), kGpuPatches);
    const size_t picture = largest.width && largest.height ? PatchesOf(config, options, largest) : 0;
    bytes = hw::CheckedAdd(bytes, TowerScratchBytes(*config.vision, std::max(room, picture)), kGpuMemory);
  }
  if (n == t.n_layers)
    bytes = hw::CheckedAdd(  // twice the hidden states: as floats, and in eight bits with scales and sums
        bytes, hw::CheckedProduct({kGpuOutputRows, 2 * t.dim + t.vocab_size, sizeof(float)}, kGpuMemory),
        kGpuMemory);
  for (const TensorEntry& e : tensors) {
    const std::optional<size_t> layer = TextLayerOf(e.name);
    if (layer ? *layer >= t.n_layers - n
              : (tower && IsOfTower(e.name)) || (n == t.n_layers && IsOutput(e.name, t.tied_embeddings)))
      bytes = hw::CheckedAdd(bytes, e.bytes, kGpuMemory);
  }
  return bytes;
}

}  // namespace qwen3vl
