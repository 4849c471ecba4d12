// SPDX-License-Identifier: Apache-2.0
// One tensor as a mapped file holds it, whichever format the file has, and the words that messages about
// files are made of.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw/number_format.h"

namespace qwen3vl {

struct FileTensor {
  std::string name;                  // as the file has it
  std::string file;                  // path, for messages
  std::string type;                  // as the file calls it: "BF16", "q4_K"
  std::optional<hw::Format> format;  // empty: a type that no matrix can have ("I64", "F64")
  std::vector<size_t> shape;         // outermost first
  const std::byte* data = nullptr;   // no alignment promised
  size_t bytes = 0;
};

// "[2048, 128]".
std::string ShapeText(const std::vector<size_t>& shape);

// Names from files as they may stand in a message: one line, at most 100 bytes, in quotes.
std::string Quoted(std::string_view text);

// Number of elements. Throws Error(kCorruptFile) beginning with `where` when it overflows.
size_t ElementCount(const std::vector<size_t>& shape, const std::string& where);

// Throws Error(kCorruptFile) when two tensors of one file share bytes; `data` must point into one mapping.
void CheckNoOverlap(const std::vector<FileTensor>& tensors);

// Throws Error(kCorruptFile) when the bytes are the stand-in that Git LFS leaves where a file was not
// fetched.
void RejectLfsPointer(const std::byte* data, size_t size, const std::string& path);

}  // namespace qwen3vl
