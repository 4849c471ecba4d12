// SPDX-License-Identifier: Apache-2.0
// The table of weights: one row per tensor with its name in either file format, its shape and its place.
// What is stored in a shape of its own (experts, GGUF patch filters, the output matrix) is not in it.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/weights.h"

namespace qwen3vl {

struct TensorRow {
  std::string hf;             // name in a Hugging Face checkpoint
  std::string gguf;           // name in a GGUF file
  std::vector<size_t> shape;  // outermost first; a matrix of more than two dimensions is flattened
  Weight* matrix = nullptr;   // exactly one of the two is set
  Vector* vector = nullptr;
};

// The prefixes of a layer's tensors.
std::string HfLayer(size_t layer);    // "model.language_model.layers.3."
std::string GgufLayer(size_t layer);  // "blk.3."

// Sizes weights.layers; the rows point into `weights`.
std::vector<TensorRow> TextRows(const TextConfig& config, TextWeights& weights);
// Sizes weights.layers and weights.deepstack.
std::vector<TensorRow> VisionRows(const VisionConfig& config, VisionWeights& weights);

}  // namespace qwen3vl
