// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/environment.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "hw/cpu_info.h"
#include "hw/machine_files.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kMaxZones = 64;

std::optional<double> ParseNumber(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// cpufreq tells kHz; without it /proc/cpuinfo has MHz, which hypervisors make up from the nominal clock.
std::optional<double> ReadClock(const std::string& root) {
  if (const auto khz =
          ParseNumber(hw::ReadTextFile(root + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")))
    return *khz / 1000;
  const std::string cpuinfo = hw::ReadTextFile(root + "/proc/cpuinfo");
  const size_t line = cpuinfo.find("cpu MHz");
  const size_t colon = line == std::string::npos ? line : cpuinfo.find(':', line);
  if (colon == std::string::npos) return std::nullopt;
  return ParseNumber(std::string_view(cpuinfo).substr(colon + 1));
}

std::optional<double> ReadTemperature(const std::string& root) {
  std::optional<double> hottest;
  for (size_t zone = 0; zone < kMaxZones; ++zone) {
    const auto milli = ParseNumber(
        hw::ReadTextFile(root + "/sys/class/thermal/thermal_zone" + std::to_string(zone) + "/temp"));
    if (!milli) break;
    if (*milli > 0) hottest = std::max(hottest.value_or(0), *milli / 1000);
  }
  return hottest;
}

}  // namespace

Environment DescribeEnvironment() {
  const hw::CpuInfo cpu = hw::ProbeCpu();
  Environment e;
  e.version = QWEN3VL_VERSION;
  e.build = QWEN3VL_BUILD;
  e.compiler = QWEN3VL_COMPILER;
  e.flags = QWEN3VL_FLAGS;
  e.cpu = cpu.model_name;
  e.physical_cores = cpu.physical_cores;
  return e;
}

MachineState ReadMachineState(const std::string& root) {
  MachineState s;
  const std::string governor =
      FirstLine(hw::ReadTextFile(root + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
  if (!governor.empty()) s.governor = governor;
  s.clock_mhz = ReadClock(root);
  s.temperature_c = ReadTemperature(root);
  if (const auto events = ParseNumber(
          hw::ReadTextFile(root + "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count")))
    s.throttle_events = static_cast<size_t>(*events);
  return s;
}

}  // namespace qwen3vl::bench
