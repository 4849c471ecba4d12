// SPDX-License-Identifier: Apache-2.0
#include "cuda/stand_in_code.h"

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "cuda/emulated_kernels.h"
#include "support/gzip.h"

namespace qwen3vl::test {
namespace {

using hw::DeviceCode;

struct Module {
  std::string name, gzip;
};

// As the build makes the modules: for compute capability 7.5 there is no tile of 128.
std::vector<DeviceCode> MakeTable() {
  static std::deque<Module> modules;
  std::vector<DeviceCode> table;
  for (unsigned compute : {75u, 61u}) {
    std::map<std::string, std::string> texts;
    for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels()) {
      std::string& text = texts[kernel.module];
      if (text.empty()) text = ".version 6.0\n.target sm_" + std::to_string(compute) + "\n";
      if (compute != 75 || !kernel.name.ends_with("tile128"))
        text += ".visible .entry " + kernel.name + "()\n";
    }
    for (const auto& [name, text] : texts) {
      const Module& module = modules.emplace_back(Module{name, Gzip(text)});
      table.push_back({compute, module.name.c_str(), module.gzip, text.size()});
    }
  }
  return table;
}

}  // namespace

std::span<const DeviceCode> StandInDeviceCode() {
  static const std::vector<DeviceCode> table = MakeTable();
  return table;
}

}  // namespace qwen3vl::test
