// SPDX-License-Identifier: Apache-2.0
// The vision tower's own kernels on one device, and their launches. Nothing here waits.
#pragma once

#include <memory>
#include <span>

#include "hw/device_code.h"
#include "qwen3vl/cuda/vision_params.h"

namespace qwen3vl {

class VisionKernels {
 public:
  // Throws Error(kDevice) or Error(kOutOfMemory).
  VisionKernels(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code);

  void LayerNorm(const gpu::LayerNormParams& params, size_t rows) const;
  void Split(const gpu::SplitParams& params, size_t tokens) const;
  void GeluTanh(hw::CudaAddress x, size_t count) const;
  void GeluErf(hw::CudaAddress x, size_t count) const;

 private:
  void Gelu(size_t entry, hw::CudaAddress x, size_t count) const;

  std::shared_ptr<const hw::CudaDevice> device_;
  hw::DeviceFunctions functions_;
};

}  // namespace qwen3vl
