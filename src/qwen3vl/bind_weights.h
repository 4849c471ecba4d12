// SPDX-License-Identifier: Apache-2.0
// Fills the weights of a model from the tensors of its files. Matrices become views of the mapping; only
// what no view can express is copied into memory of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "qwen3vl/load_progress.h"
#include "qwen3vl/tensor_table.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

enum class Naming { kHuggingFace, kGguf };

// Where tensors come from and what binding leaves behind.
struct BindSource {
  TensorTable& table;
  Naming naming;
  std::string where;  // folder or file, for messages about what is missing
  LoadProgress& progress;
  std::vector<std::shared_ptr<void>>& owners;  // rebuilt tensors are added
};

// All throw Error(kNotFound) for a missing tensor, kCorruptFile for a shape that contradicts the config,
// kUnsupported for a number type that it cannot have, kCancelled.
void BindText(const BindSource& source, const TextConfig& config, TextWeights& weights);
void BindVision(const BindSource& source, const VisionConfig& config, VisionWeights& weights);

// Whether the output matrix is the embedding: there is no other one.
bool HasOwnOutput(const TensorTable& table, Naming naming);

// The steps of the above that are shared between their files.
const FileTensor& RequireTensor(const BindSource& source, const std::string& key);
void RequireShape(const FileTensor& tensor, const std::vector<size_t>& shape);
Weight MatrixOf(const FileTensor& tensor, size_t rows, size_t cols);
// Uninitialised memory that lives as long as the model.
std::byte* NewOwnedBytes(const BindSource& source, size_t bytes);
void BindExperts(const BindSource& source, const TextConfig& config, size_t layer, TextLayerWeights& weights);

}  // namespace qwen3vl
