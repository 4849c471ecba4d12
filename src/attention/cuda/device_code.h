// SPDX-License-Identifier: Apache-2.0
// The device code inside this library. The build writes the table (cmake/DeviceCode.cmake); it is empty where
// no compiler for it was found.
#pragma once

#include <span>

#include "attention/cuda/attention_params.h"

namespace qwen3vl::attention {

// One module: the kernels of one head_dim and storage format, as PTX text that the driver compiles.
struct DeviceCode {
  unsigned compute;  // 61 or 75: runs on this compute capability and every later one
  unsigned head_dim;
  gpu::KvFormat format;
  const char* ptx;
};

// The newest compute capability first.
std::span<const DeviceCode> EmbeddedDeviceCode();

}  // namespace qwen3vl::attention
