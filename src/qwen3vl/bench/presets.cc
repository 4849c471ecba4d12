// SPDX-License-Identifier: Apache-2.0
// Sources: the config.json files of the Qwen3-VL checkpoints; GPT-2 small (Radford et al. 2019); ESM-2 650M
// (Lin et al. 2022); the attention of a 3-D U-Net for video; a ViT-L/16 over 32 camera pictures of 14 x 14
// patches.
#include "qwen3vl/bench/presets.h"

#include <algorithm>

#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

struct TextSize {
  std::string_view name;
  size_t dim, n_layers, n_heads, n_kv_heads, ffn_dim;
};

Preset Text(const TextSize& t) {
  constexpr size_t kHeadDim = 128;
  Preset p{.name = t.name,
           .attention = {.n_heads = t.n_heads,
                         .n_kv_heads = t.n_kv_heads,
                         .head_dim = kHeadDim,
                         .causal = true,
                         .length = 512,
                         .n_layers = t.n_layers},
           .dim = t.dim,
           .norm = NormKind::kRms,
           .rope = RopeKind::kText,
           .linear = {{"q", t.n_heads * kHeadDim, t.dim},
                      {"kv", t.n_kv_heads * kHeadDim, t.dim},
                      {"o", t.dim, t.n_heads * kHeadDim},
                      {"ffn_up", t.ffn_dim, t.dim},
                      {"ffn_down", t.dim, t.ffn_dim}}};
  return p;
}

// A layer of width n_heads * head_dim with the usual four products.
Preset Encoder(std::string_view name, const AttentionShape& attention, size_t ffn_dim,
               RopeKind rope = RopeKind::kNone) {
  const size_t dim = attention.n_heads * attention.head_dim;
  return {.name = name,
          .attention = attention,
          .dim = dim,
          .norm = NormKind::kLayer,
          .rope = rope,
          .linear = {
              {"qkv", 3 * dim, dim}, {"o", dim, dim}, {"ffn_up", ffn_dim, dim}, {"ffn_down", dim, ffn_dim}}};
}

Preset Vision(std::string_view name, size_t head_dim, size_t n_layers, size_t ffn_dim) {
  return Encoder(
      name, {.n_heads = 16, .n_kv_heads = 16, .head_dim = head_dim, .length = 1024, .n_layers = n_layers},
      ffn_dim, RopeKind::kVision);
}

const std::vector<Preset>& Table() {
  static const std::vector<Preset> presets = {
      Text({"qwen3vl-2b.text", 2048, 28, 16, 8, 6144}),
      Vision("qwen3vl-2b.vision", 64, 24, 4096),
      Text({"qwen3vl-4b.text", 2560, 36, 32, 8, 9728}),
      Vision("qwen3vl-4b.vision", 64, 24, 4096),
      Text({"qwen3vl-8b.text", 4096, 36, 32, 8, 12288}),
      Vision("qwen3vl-8b.vision", 72, 27, 4304),
      Text({"qwen3vl-32b.text", 5120, 64, 64, 8, 25600}),
      Vision("qwen3vl-32b.vision", 72, 27, 4304),
      // The feed-forward part is one of 128 experts, of which a token takes 8.
      Text({"qwen3vl-30b-a3b.text", 2048, 48, 32, 4, 768}),
      Vision("qwen3vl-30b-a3b.vision", 72, 27, 4304),
      Encoder(
          "gpt2",
          {.n_heads = 12, .n_kv_heads = 12, .head_dim = 64, .causal = true, .length = 1024, .n_layers = 12},
          3072),
      Encoder("esm2-650m",
              {.n_heads = 20,
               .n_kv_heads = 20,
               .head_dim = 64,
               .padded = true,
               .batch = 4,
               .length = 1024,
               .n_layers = 33},
              5120, RopeKind::kText),
      Encoder("unet3d", {.n_heads = 8, .n_kv_heads = 8, .head_dim = 64, .length = 832, .n_layers = 12}, 2048),
      Encoder("manipulation",
              {.n_heads = 16, .n_kv_heads = 16, .head_dim = 64, .batch = 32, .length = 196, .n_layers = 24},
              4096),
  };
  return presets;
}

}  // namespace

std::span<const Preset> Presets() { return Table(); }

std::vector<const Preset*> FindPresets(std::string_view name) {
  std::vector<const Preset*> found;
  std::string known;
  for (const Preset& p : Table()) {
    if (p.name == name || (p.name.starts_with(name) && p.name.substr(name.size()).starts_with('.')))
      found.push_back(&p);
    known += (known.empty() ? "" : ", ") + std::string(p.name);
  }
  if (found.empty())
    throw Error(ErrorCode::kInvalidArgument, "preset '" + std::string(name) + "': unknown, want one of " +
                                                 known + " (without .text and .vision: both)");
  return found;
}

std::vector<size_t> PaddedLengths(size_t batch, size_t length) {
  std::vector<size_t> lengths(batch);
  for (size_t b = 0; b < batch; ++b)
    lengths[b] =
        std::max<size_t>(1, batch > 1 ? length - b * (length - length / 4) / (batch - 1) : length * 3 / 4);
  return lengths;
}

}  // namespace qwen3vl::bench
