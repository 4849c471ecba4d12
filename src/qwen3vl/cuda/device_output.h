// SPDX-License-Identifier: Apache-2.0
// The output matrix on one GPU: hidden states go up, logits come down.
#pragma once

#include <memory>

#include "hw/cuda_device.h"
#include "hw/view.h"
#include "qwen3vl/cuda/gpu_code.h"
#include "qwen3vl/cuda/layer_kernels.h"

namespace qwen3vl {

// Offsets into one block of device memory, for up to kGpuOutputRows rows at a time.
struct PlacedOutput {
  PlacedWeight weight;
  size_t x = 0, codes = 0, scales = 0, sums = 0;  // [n, cols], and the same in 8 bits
  size_t logits = 0;                              // [n, rows]
  size_t bytes = 0;
};

// Precondition: WhyNotOnGpu(weight) is empty. Throws Error(kInvalidArgument) when sizes overflow.
PlacedOutput PlaceOutput(const Weight& weight);

class DeviceOutput {
 public:
  // Loads the kernels, takes the memory and brings the weights there. Throws Error(kDevice) or
  // Error(kOutOfMemory).
  DeviceOutput(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code, const Weight& weight);

  size_t bytes() const { return memory_.bytes(); }  // of device memory

  // logits [n, vocab_size] = x [n, dim] W^T. Throws Error; `logits` is then void.
  void Run(hw::MatrixView<const float> x, hw::MatrixView<float> logits) const;

 private:
  std::shared_ptr<const hw::CudaDevice> device_;
  const PlacedOutput placed_;
  LayerKernels kernels_;
  hw::CudaBuffer memory_;
};

}  // namespace qwen3vl
