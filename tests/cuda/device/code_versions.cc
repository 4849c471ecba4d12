// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/code_versions.h"

#include <algorithm>
#include <cstdio>

#include "qwen3vl/error.h"

namespace qwen3vl::test {
namespace {

// Of cuFuncGetAttribute.
constexpr int kLocalBytes = 3, kRegisters = 4;

std::shared_ptr<const hw::CudaModule> ModuleOf(const hw::CudaDevice& device, const hw::DeviceCode& code) {
  return device.Module(std::string(code.module) + " " + std::to_string(code.compute),
                       [&] { return PtxText(code); });
}

bool DriverTakes(const hw::CudaDevice& device, const hw::DeviceCode& code) {
  try {
    ModuleOf(device, code);
  } catch (const Error& e) {
    const std::string why = e.what();
    if (why.find("CUDA error 222") == std::string::npos) throw;
    std::printf("code for compute capability %u.%u is left out, the driver is too old for it: %s\n",
                code.compute / 10, code.compute % 10, why.c_str());
    return false;
  }
  return true;
}

std::vector<std::string> EntriesOf(const std::string& ptx) {
  constexpr std::string_view kEntry = ".entry ";
  std::vector<std::string> names;
  for (size_t at = ptx.find(kEntry); at != std::string::npos; at = ptx.find(kEntry, at)) {
    at += kEntry.size();
    names.push_back(ptx.substr(at, ptx.find('(', at) - at));
  }
  return names;
}

}  // namespace

std::vector<CodeVersion> CodeVersions(const hw::CudaDevice& device, std::span<const hw::DeviceCode> table) {
  const hw::GpuInfo& gpu = device.info();
  std::vector<CodeVersion> versions;
  for (unsigned compute : {61u, 75u}) {
    if (compute > static_cast<unsigned>(gpu.compute_major * 10 + gpu.compute_minor)) continue;
    CodeVersion one;
    std::ranges::copy_if(table, std::back_inserter(one),
                         [&](const hw::DeviceCode& c) { return c.compute == compute; });
    if (!one.empty() && DriverTakes(device, one.front())) versions.push_back(std::move(one));
  }
  return versions;
}

std::vector<KernelFacts> KernelFactsOf(const hw::CudaDevice& device, const CodeVersion& code) {
  std::vector<KernelFacts> facts;
  for (const hw::DeviceCode& c : code) {
    const auto module = ModuleOf(device, c);
    for (const std::string& name : EntriesOf(PtxText(c))) {
      KernelFacts kernel{.name = name};
      const auto ask = [&](const hw::CudaDriver& d) {
        if (!d.FuncGetAttribute) return -1;
        const hw::CudaHandle function = module->Find(name);
        const int error = d.FuncGetAttribute(&kernel.registers, kRegisters, function);
        return error ? error : d.FuncGetAttribute(&kernel.local_bytes, kLocalBytes, function);
      };
      if (device.context()->Do(ask) != hw::kCudaSuccess) return {};
      facts.push_back(std::move(kernel));
    }
  }
  return facts;
}

}  // namespace qwen3vl::test
