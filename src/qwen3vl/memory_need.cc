// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/memory_need.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "attention/kv_cache.h"
#include "hw/checked.h"
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

}  // namespace

size_t ContextOf(const ModelConfig& config, const SessionOptions& options) {
  constexpr size_t kDefaultContext = 8192;
  const size_t asked = options.context ? options.context : kDefaultContext;
  if (options.context > config.text.max_seq_len)
    throw Error(ErrorCode::kInvalidArgument, "context: " + std::to_string(options.context) + " tokens, but " +
                                                 config.name + " was made for at most " +
                                                 std::to_string(config.text.max_seq_len));
  return std::min(asked, config.text.max_seq_len);
}

PreprocessConfig PreprocessOf(const ModelConfig& config, const SessionOptions& options) {
  PreprocessConfig p = config.preprocess;
  if (!config.vision) return p;
  const size_t side = config.vision->patch_size * config.vision->merge_size;
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
                          size_t width, size_t height) {
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
  if (config.vision && width && height) {
    const VisionConfig& v = *config.vision;
    const PreprocessConfig p = PreprocessOf(config, options);
    const ImageSize size =
        SmartResize({height, width}, v.patch_size * v.merge_size, p.image_min_pixels, p.image_max_pixels);
    const size_t patches = size.height / v.patch_size * (size.width / v.patch_size);
    need.image_stage = hw::CheckedAdd(VisionModel::ScratchBytes(v, patches),
                                      3 * (width * height + size.width * size.height), "image stage");
  }
  return need;
}

size_t EstimateGpuMemory(const ModelConfig& config, std::span<const TensorEntry> tensors,
                         const SessionOptions& options) {
  constexpr const char* kWhat = "memory on the GPU";
  const TextConfig& t = config.text;
  const size_t n = std::min(options.gpu_layers, t.n_layers);
  if (n == 0) return 0;
  const size_t context = ContextOf(config, options);
  size_t bytes = attention::KvCache::BytesFor({.n_layers = n,
                                               .n_kv_heads = t.n_kv_heads,
                                               .head_dim = t.head_dim,
                                               .capacity = context,
                                               .format = ToFormat(options.kv_type)});
  bytes = hw::CheckedAdd(bytes, TextModel::ScratchBytes(t, std::min(options.prefill_chunk, context)), kWhat);
  for (const TensorEntry& e : tensors)
    if (const std::optional<size_t> layer = TextLayerOf(e.name); layer && *layer >= t.n_layers - n)
      bytes = hw::CheckedAdd(bytes, e.bytes, kWhat);
  return bytes;
}

}  // namespace qwen3vl
