// SPDX-License-Identifier: Apache-2.0
// Where and by what a measurement was made. Facts that this machine does not tell are absent, never zero.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace qwen3vl::bench {

struct Environment {
  std::string version;   // of this project
  std::string build;     // "Release, pool threads"
  std::string compiler;  // "GNU 12.2.0"
  std::string flags;     // "-O3 -DNDEBUG"
  std::string cpu;
  size_t physical_cores = 0;

  bool operator==(const Environment&) const = default;
};

Environment DescribeEnvironment();

// What changes while a measurement runs.
struct MachineState {
  std::optional<std::string> governor;    // "performance"
  std::optional<double> clock_mhz;        // of the first processor, now
  std::optional<double> temperature_c;    // hottest zone
  std::optional<size_t> throttle_events;  // of the first core, since the machine started

  bool operator==(const MachineState&) const = default;
};

// Reads <root>/sys and <root>/proc.
MachineState ReadMachineState(const std::string& root = "");

}  // namespace qwen3vl::bench
