// SPDX-License-Identifier: Apache-2.0
// The layer shapes that are measured: those of the Qwen3-VL models, and of four other users of attention.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::bench {

struct AttentionShape {
  size_t n_heads = 1, n_kv_heads = 1, head_dim = 64;
  bool causal = false;
  bool padded = false;  // sequences end at different lengths
  size_t batch = 1;
  size_t length = 1024;  // of a sequence, where none is asked for
  size_t n_layers = 1;   // of the model that are like this
};

struct LinearShape {
  const char* name;  // "qkv", "ffn_up"
  size_t outputs, inputs;
};

enum class NormKind { kRms, kLayer };
enum class RopeKind { kNone, kText, kVision };

// One tower of a model.
struct Preset {
  std::string_view name;  // "qwen3vl-4b.text", "gpt2"
  AttentionShape attention;
  size_t dim = 0;
  NormKind norm = NormKind::kLayer;
  RopeKind rope = RopeKind::kNone;
  std::vector<LinearShape> linear;
};

std::span<const Preset> Presets();
// Presets called `name` or `name`.text and `name`.vision. Throws Error(kInvalidArgument) listing the known.
std::vector<const Preset*> FindPresets(std::string_view name);

// Lengths of the sequences of a padded batch: from a quarter to the whole.
std::vector<size_t> PaddedLengths(size_t batch, size_t length);

}  // namespace qwen3vl::bench
