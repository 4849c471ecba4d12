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
#include "attention/cuda/cuda_problem.h"
#include "attention/cuda/device_code.h"
#include "hw/aligned_buffer.h"
#include "hw/cuda_device.h"

namespace qwen3vl::attention {

// May be called from any thread; calls take turns.
class CudaAttention {
 public:
  // Opens nothing yet: the device is looked for by the first call.
  CudaAttention(std::string driver_library, std::span<const DeviceCode> code)
      : driver_library_(std::move(driver_library)), code_(code) {}

  // As AttendCuda. After a failure of the device (not for want of its memory) it is not used again.
  PathOutcome Attend(const Inputs& in, const Outputs& out, const Options& options, size_t* tile);

 private:
  // The kernels of one head_dim, format and tile. Where none could be loaded: why, and its cause.
  struct Kernels {
    hw::CudaModule module;
    hw::CudaHandle prefill = nullptr, decode = nullptr, merge = nullptr;
    std::string name;  // "128_F16"
    std::string failure;
  };
  struct KernelKey {
    unsigned head_dim;
    gpu::KvFormat format;
    size_t tile;
    auto operator<=>(const KernelKey&) const = default;
  };

  void OpenDevice();
  Kernels& KernelsFor(const KernelKey& key);
  Kernels LoadKernels(const KernelKey& key) const;
  PathOutcome Run(const Inputs& in, const Outputs& out, const Options& options, size_t* tile);
  void Launch(const Inputs& in, const CudaProblem& problem, const Kernels& kernels, size_t tile) const;

  const std::string driver_library_;
  const std::span<const DeviceCode> code_;
  std::mutex mutex_;
  std::string lost_;  // why the device is not used any more
  std::unique_ptr<hw::CudaDevice> device_;
  std::map<KernelKey, Kernels> kernels_;
  hw::CudaBuffer memory_;
  hw::AlignedBuffer<std::byte> upload_, download_;
};

}  // namespace qwen3vl::attention
