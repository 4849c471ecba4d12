// SPDX-License-Identifier: Apache-2.0
// The public name of a cache format to the kernels' own.
#pragma once

#include "hw/number_format.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

constexpr hw::Format ToFormat(KvType type) {
  switch (type) {
    case KvType::kF32:
      return hw::Format::kF32;
    case KvType::kBF16:
      return hw::Format::kBF16;
    case KvType::kQ8_0:
      return hw::Format::kQ8_0;
    case KvType::kF16:
      break;
  }
  return hw::Format::kF16;
}

}  // namespace qwen3vl
