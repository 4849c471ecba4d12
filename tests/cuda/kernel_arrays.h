// SPDX-License-Identifier: Apache-2.0
// The arrays of one launch in memory of their own, so that what a kernel does beside them is noticed: writing
// in every build, reading by AddressSanitizer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda/emulated_kernels.h"
#include "cuda/ptx_interpreter.h"

namespace qwen3vl::gpu {

class KernelArrays {
 public:
  // Copies of the arrays that the launch is given; those without an address or bytes stay as they are.
  KernelArrays(const void* parameters, const EmulatedKernel& kernel, Grid grid);

  // The launch's parameters with the copies' addresses.
  std::span<const std::byte> parameters() const { return std::as_bytes(std::span(parameters_)); }
  std::vector<MemoryRange> Ranges() const;
  // After the launch: what may be written goes back to where it came from. Throws std::runtime_error where
  // something was written beside an array.
  void CopyBack() const;

 private:
  struct Copy {
    void* original;
    size_t bytes;
    bool writable;
    std::unique_ptr<std::byte[]> memory;  // the array between two guards
    std::byte* data() const;
  };

  std::vector<uint64_t> parameters_;
  std::vector<Copy> copies_;
};

}  // namespace qwen3vl::gpu
