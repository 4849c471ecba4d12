// SPDX-License-Identifier: Apache-2.0
// The two kinds of models behind LoadModelFiles, and what they share.
#pragma once

#include <string>

#include "qwen3vl/tensor_table.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

ModelFiles LoadHfFolder(const std::string& folder, const LoadModelFilesOptions& options);
ModelFiles LoadGgufModel(const std::string& path, const LoadModelFilesOptions& options);

// The GGUF file that a folder without a config.json stands for when it holds one text model and no more, else
// `path` itself.
std::string ModelAt(const std::string& path);

// Lists the tensors of `table` in `files` (those of a type that no weight can have give a warning instead).
void ListTensors(const TensorTable& table, ModelFiles& files);
// One warning for all tensors that were never asked for.
void WarnUnused(const TensorTable& table, ModelFiles& files);
// Whether `total_bytes` of weights fit into memory now: only then is reading them ahead of use no waste.
bool FitsMemory(size_t total_bytes);

}  // namespace qwen3vl
