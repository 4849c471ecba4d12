// SPDX-License-Identifier: Apache-2.0
#include "hw/device_code.h"

#include <algorithm>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {

DeviceFunctions LoadFunctions(const CudaDevice& device, std::span<const DeviceCode> code,
                              const std::string& module, std::span<const std::string> names) {
  const GpuInfo& gpu = device.info();
  const unsigned compute = static_cast<unsigned>(gpu.compute_major * 10 + gpu.compute_minor);
  DeviceFunctions found;
  found.failure = "no device code for " + module;
  for (const DeviceCode& c : code) {
    if (c.compute > compute || c.module != module) continue;
    try {
      found.module = CudaModule(device.context(), c.ptx);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kOutOfMemory) throw;
      found.failure = e.what();
      continue;
    }
    found.entries.clear();
    for (const std::string& name : names) found.entries.push_back(found.module.Find(name));
    if (std::ranges::count(found.entries, nullptr) != 0) continue;
    found.failure.clear();
    return found;
  }
  found.entries.clear();
  return found;
}

}  // namespace qwen3vl::hw
