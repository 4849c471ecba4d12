// SPDX-License-Identifier: Apache-2.0
// The tensor types of GGUF by their number in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "hw/number_format.h"

namespace qwen3vl {

struct GgufTensorType {
  uint32_t id;
  std::string_view name;
  size_t block_elements;  // 0: only the name is known here
  size_t block_bytes;
  std::optional<hw::Format> format;
};

// Null for numbers that stand for nothing known.
const GgufTensorType* FindGgufTensorType(uint32_t id);

}  // namespace qwen3vl
