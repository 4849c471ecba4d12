// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/file_tensor.h"

#include <algorithm>

#include "hw/checked.h"
#include "qwen3vl/error.h"

namespace qwen3vl {

std::string ShapeText(const std::vector<size_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    if (i == 8) return text + "...]";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::string Quoted(std::string_view text) {
  constexpr size_t kMaxBytes = 100;
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  return out + (text.size() > kMaxBytes ? "...\"" : "\"");
}

size_t ElementCount(const std::vector<size_t>& shape, const std::string& where) {
  try {
    return hw::CheckedProduct(shape, where.c_str());
  } catch (const Error& e) {
    throw Error(ErrorCode::kCorruptFile, e.what());
  }
}

void CheckNoOverlap(const std::vector<FileTensor>& tensors) {
  std::vector<const FileTensor*> order;
  for (const FileTensor& t : tensors)
    if (t.bytes > 0) order.push_back(&t);
  std::sort(order.begin(), order.end(),
            [](const FileTensor* a, const FileTensor* b) { return a->data < b->data; });
  for (size_t i = 1; i < order.size(); ++i) {
    const FileTensor& before = *order[i - 1];
    if (order[i]->data < before.data + before.bytes)
      throw Error(ErrorCode::kCorruptFile, before.file + ": tensors " + Quoted(before.name) + " and " +
                                               Quoted(order[i]->name) +
                                               " share bytes of the file, want separate ranges");
  }
}

void RejectLfsPointer(const std::byte* data, size_t size, const std::string& path) {
  constexpr std::string_view kStart = "version https://git-lfs";
  if (std::string_view(reinterpret_cast<const char*>(data), size).starts_with(kStart))
    throw Error(ErrorCode::kCorruptFile,
                path + ": is a Git LFS pointer, not the file itself: fetch it with \"git lfs pull\"");
}

}  // namespace qwen3vl
