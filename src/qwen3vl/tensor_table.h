// SPDX-License-Identifier: Apache-2.0
// All tensors of a model by name, from however many files, and which of them were asked for.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "qwen3vl/file_tensor.h"

namespace qwen3vl {

class TensorTable {
 public:
  // `key` is what the table of weights calls the tensor. Throws Error(kCorruptFile) when it is taken.
  void Add(const std::string& key, FileTensor tensor);
  // Null when there is none.
  const FileTensor* Find(const std::string& key);
  bool Has(const std::string& key) const { return index_.count(key) != 0; }
  const std::vector<FileTensor>& tensors() const { return tensors_; }
  size_t bytes() const;
  // Names of the tensors that Find never returned.
  std::vector<std::string> Unused() const;

 private:
  std::vector<FileTensor> tensors_;
  std::vector<bool> used_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace qwen3vl
