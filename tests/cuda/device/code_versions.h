// SPDX-License-Identifier: Apache-2.0
// The versions of the embedded device code that a device and its driver take, and what the driver made of
// them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hw/device_code.h"

namespace qwen3vl::test {

// The modules of one compute capability.
using CodeVersion = std::vector<hw::DeviceCode>;

// Those of `table` for each compute capability that the device can run, the lowest first. Without those that
// its driver is too old for (CUDA error 222), which sessions do without, too: a line on stdout says so.
std::vector<CodeVersion> CodeVersions(const hw::CudaDevice& device, std::span<const hw::DeviceCode> table);

// A kernel as the driver compiled it. Bytes of local memory are spilled registers: no kernel has arrays
// there.
struct KernelFacts {
  std::string name;
  int registers = 0, local_bytes = 0;
};

// Of all kernels of the modules; empty where the driver does not tell.
std::vector<KernelFacts> KernelFactsOf(const hw::CudaDevice& device, const CodeVersion& code);

}  // namespace qwen3vl::test
