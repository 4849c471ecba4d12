// SPDX-License-Identifier: Apache-2.0
// Device code that a library carries as packed PTX text, and the loading of it: of several texts for one
// module the device gets the newest that it can run.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hw/cuda_device.h"

namespace qwen3vl::hw {

// One module, as PTX text that the driver compiles. The build writes tables of these
// (cmake/DeviceCode.cmake), the newest compute capability first.
struct DeviceCode {
  unsigned compute;    // 61 or 75: runs on this compute capability and every later one
  const char* module;  // "attention_128_F16"
  std::string_view gzip;
  size_t bytes;  // of the text
};

// The PTX text. Throws Error(kCorruptFile) where the packed one is damaged.
std::string PtxText(const DeviceCode& code);

// Entry points of a module on a device.
struct DeviceFunctions {
  std::shared_ptr<const CudaModule> module;
  std::vector<CudaHandle> entries;  // in the order of the names asked for
  std::string failure;              // why there are none; empty when all are there
};

// The newest code of that module that the device can run, that is not damaged, that its driver can compile,
// and that has all the entry points. Throws Error(kOutOfMemory) where the device has no memory for it; any
// other failure is told.
DeviceFunctions LoadFunctions(const CudaDevice& device, std::span<const DeviceCode> code,
                              const std::string& module, std::span<const std::string> names);

}  // namespace qwen3vl::hw
