// SPDX-License-Identifier: Apache-2.0
// The device code that layers and tower are run with.
#pragma once

#include <span>

#include "attention/cuda/attention_kernels.h"
#include "hw/device_code.h"
#include "qwen3vl/error.h"

namespace qwen3vl {

struct GpuCode {
  std::span<const hw::DeviceCode> attention;
  std::span<const hw::DeviceCode> layers;  // everything else
};

// The attention of rows of head_dim columns, with the tile for this device. Scores of integers carry what is
// not finite to the result, as those in fp32 do. Throws Error(kDevice) or
// Error(kOutOfMemory).
inline attention::AttentionKernels LoadAttention(const hw::CudaDevice& device, const GpuCode& code,
                                                 unsigned head_dim, gpu::KvFormat format,
                                                 gpu::ScoreType scores) {
  attention::AttentionKernels kernels = attention::LoadAttentionKernels(
      device, code.attention, head_dim, format, attention::TileOf(device.info(), {}), scores);
  if (!kernels.functions.failure.empty()) throw Error(ErrorCode::kDevice, kernels.functions.failure);
  return kernels;
}

}  // namespace qwen3vl
