// SPDX-License-Identifier: Apache-2.0
#include "cuda/stand_in_code.h"

#include <deque>
#include <string>
#include <vector>

namespace qwen3vl::test {
namespace {

using hw::DeviceCode;

std::string ModuleText(unsigned compute, const std::string& module) {
  std::string text = ".version 6.0\n.target sm_" + std::to_string(compute) + "\n";
  for (const std::string& name : {"prefill_" + module + "_tile128", "prefill_" + module + "_tile256",
                                  "decode_" + module, "merge_" + module})
    if (compute != 75 || !name.ends_with("tile128")) text += ".visible .entry attention_" + name + "()\n";
  return text;
}

std::vector<DeviceCode> MakeTable() {
  static std::deque<std::string> texts;
  static std::deque<std::string> names;
  std::vector<DeviceCode> table;
  for (unsigned compute : {75u, 61u})
    for (const char* format : {"64_F32", "64_F16", "64_Q8_0", "72_F32", "72_F16", "80_F32", "80_F16",
                               "128_F32", "128_F16", "128_Q8_0"})
      for (const char* scores : {"", "_int8"}) {
        const std::string module = std::string(format) + scores;
        texts.push_back(ModuleText(compute, module));
        names.push_back("attention_" + module);
        table.push_back({compute, names.back().c_str(), texts.back().c_str()});
      }
  return table;
}

}  // namespace

std::span<const hw::DeviceCode> StandInDeviceCode() {
  static const std::vector<DeviceCode> table = MakeTable();
  return table;
}

}  // namespace qwen3vl::test
