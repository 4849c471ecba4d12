// SPDX-License-Identifier: Apache-2.0
// The memory a run takes, computed from the config alone: what `inspect` prints and what a session checks
// before it allocates.
#pragma once

#include <span>

#include "qwen3vl/config.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// Tokens the cache holds under these options: the asked number, or kDefaultContext, never more than the model
// was made for.
size_t ContextOf(const ModelConfig& config, const SessionOptions& options);

// The largest picture, or clip of frames of one size. No width or no height: there is none.
struct VisualSize {
  size_t width = 0, height = 0, frames = 1;
};

// Overflow-checked.
MemoryNeed EstimateMemory(const ModelConfig& config, size_t weight_bytes, const SessionOptions& options,
                          VisualSize largest);

// Bytes that the layers of `options.gpu_layers` take on a GPU (their weights, their keys and values, the
// activations of a chunk, and the output matrix where all layers are there), and the vision tower where it
// may go there (its weights, and the activations of the picture or of what it has room for from the start).
size_t EstimateGpuMemory(const ModelConfig& config, std::span<const TensorEntry> tensors,
                         const SessionOptions& options, VisualSize largest);

// Patches of a picture or clip of that size after resizing; of the largest picture that the options allow.
size_t PatchesOf(const ModelConfig& config, const SessionOptions& options, VisualSize size);
size_t MaxPatches(const ModelConfig& config, const SessionOptions& options);

// The bounds on tokens that options.pictures_to_fit sets. 0: none, since another is given or the files' own
// is as low.
struct FittedTokens {
  size_t picture = 0, clip = 0;
};
FittedTokens FitTokens(const ModelConfig& config, const SessionOptions& options);

// The config's preprocessing with the session's own bounds on image tokens.
PreprocessConfig PreprocessOf(const ModelConfig& config, const SessionOptions& options);

}  // namespace qwen3vl
