// SPDX-License-Identifier: Apache-2.0
#include "cuda/stand_in_code.h"

#include <deque>
#include <string>
#include <vector>

namespace qwen3vl::test {
namespace {

using attention::DeviceCode;
using gpu::KvFormat;

std::string ModuleText(unsigned compute, const std::string& module) {
  std::string text = ".version 6.0\n.target sm_" + std::to_string(compute) + "\n";
  for (const std::string& name : {"prefill_" + module + "_tile128", "prefill_" + module + "_tile256",
                                  "decode_" + module, "merge_" + module})
    if (compute != 75 || !name.ends_with("tile128")) text += ".visible .entry attention_" + name + "()\n";
  return text;
}

std::vector<DeviceCode> MakeTable() {
  static std::deque<std::string> texts;
  std::vector<DeviceCode> table;
  for (unsigned compute : {75u, 61u})
    for (unsigned head_dim : {64u, 72u, 80u, 128u})
      for (const auto& [format, name] :
           {std::pair{KvFormat::kF32, "_F32"}, {KvFormat::kF16, "_F16"}, {KvFormat::kQ8_0, "_Q8_0"}}) {
        if (format == KvFormat::kQ8_0 && head_dim % 32 != 0) continue;
        texts.push_back(ModuleText(compute, std::to_string(head_dim) + name));
        table.push_back({compute, head_dim, format, texts.back().c_str()});
      }
  return table;
}

}  // namespace

std::span<const DeviceCode> StandInDeviceCode() {
  static const std::vector<DeviceCode> table = MakeTable();
  return table;
}

}  // namespace qwen3vl::test
