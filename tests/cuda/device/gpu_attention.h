// SPDX-License-Identifier: Apache-2.0
// One attention problem with its tensors on the device, to be run again and again.
#pragma once

#include <span>
#include <vector>

#include "attention/cuda/attention_kernels.h"
#include "hw/cuda_device.h"

namespace qwen3vl::test {

class GpuAttention {
 public:
  // `copies` of the tensors, used in turn, so that no cache of the device holds them. Throws Error(kDevice)
  // where `code` has no kernels for the problem.
  GpuAttention(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
               const attention::Inputs& in, attention::GpuScores scores, size_t copies = 1);

  void Run(size_t times) const;
  std::vector<float> Result() const;  // [batch, q_len, n_heads, head_dim], of the first copy
  unsigned tile() const { return kernels_.tile; }

 private:
  const hw::CudaDevice& device_;
  attention::Inputs in_;
  attention::CudaProblem problem_;
  attention::AttentionKernels kernels_;
  std::vector<hw::CudaBuffer> memory_;
};

// Of one copy, on a device with so many multiprocessors.
size_t GpuBytes(const attention::Inputs& in, size_t multiprocessors);

}  // namespace qwen3vl::test
