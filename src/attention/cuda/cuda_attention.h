// SPDX-License-Identifier: Apache-2.0
// Attention on one GPU. Every call brings its tensors to the device and takes the result back; what stays
// there are the compiled kernels and one block of memory that grows with the largest problem so far.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "attention/attention.h"
#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/attention_kernels.h"
#include "attention/cuda/cuda_problem.h"
#include "hw/aligned_buffer.h"
#include "hw/cuda_device.h"

namespace qwen3vl::attention {

// May be called from any thread; calls take turns.
class CudaAttention {
 public:
  // Opens nothing yet: the device is looked for by the first call.
  CudaAttention(std::string driver_library, std::span<const hw::DeviceCode> code)
      : driver_library_(std::move(driver_library)), code_(code) {}

  // As AttendCuda. After a failure of the device (not for want of its memory) it is not used again.
  PathOutcome Attend(const Inputs& in, const Outputs& out, const Options& options, size_t* tile);

 private:
  struct KernelKey {
    unsigned head_dim;
    gpu::KvFormat format;
    unsigned tile;
    gpu::ScoreType scores;
    auto operator<=>(const KernelKey&) const = default;
  };

  void OpenDevice();
  const AttentionKernels& KernelsFor(const KernelKey& key);
  PathOutcome Run(const Inputs& in, const Outputs& out, const Options& options, size_t* tile);

  const std::string driver_library_;
  const std::span<const hw::DeviceCode> code_;
  std::mutex mutex_;
  std::string lost_;  // why the device is not used any more
  std::unique_ptr<hw::CudaDevice> device_;
  std::map<KernelKey, AttentionKernels> kernels_;
  hw::CudaBuffer memory_;
  hw::AlignedBuffer<std::byte> upload_, download_;
};

}  // namespace qwen3vl::attention
