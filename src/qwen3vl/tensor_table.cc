// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tensor_table.h"

#include "hw/checked.h"
#include "qwen3vl/error.h"

namespace qwen3vl {

void TensorTable::Add(const std::string& key, FileTensor tensor) {
  const auto [it, is_new] = index_.emplace(key, tensors_.size());
  if (!is_new) {
    const FileTensor& first = tensors_[it->second];
    throw Error(ErrorCode::kCorruptFile, tensor.file + ": tensor " + Quoted(tensor.name) +
                                             " is there twice, first as " + Quoted(first.name) + " in " +
                                             first.file);
  }
  tensors_.push_back(std::move(tensor));
  used_.push_back(false);
}

const FileTensor* TensorTable::Find(const std::string& key) {
  const auto it = index_.find(key);
  if (it == index_.end()) return nullptr;
  used_[it->second] = true;
  return &tensors_[it->second];
}

size_t TensorTable::bytes() const {
  size_t total = 0;
  for (const FileTensor& t : tensors_) total = hw::CheckedAdd(total, t.bytes, "tensors");
  return total;
}

std::vector<std::string> TensorTable::Unused() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!used_[i]) names.push_back(tensors_[i].name);
  return names;
}

}  // namespace qwen3vl
