// SPDX-License-Identifier: Apache-2.0
// The public names of what keys and values are kept in, and of how the CPU multiplies, to the kernels' own.
#pragma once

#include "attention/attention.h"
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

constexpr attention::CpuProducts ToProducts(CpuProducts products) {
  if (products == CpuProducts::kAuto) return attention::CpuProducts::kAuto;
  return products == CpuProducts::kInt16 ? attention::CpuProducts::kInt16 : attention::CpuProducts::kF32;
}

// Whether the CPU multiplies many rows of text attention in whole numbers. Where it does not, kAuto means
// floats for everything else too.
inline bool RoundsProducts(const SessionOptions& options) {
  if (options.exact || options.cpu_products == CpuProducts::kF32) return false;
  return options.cpu_products == CpuProducts::kInt16 || options.kv_type != KvType::kF32;
}

}  // namespace qwen3vl
