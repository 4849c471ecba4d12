// SPDX-License-Identifier: Apache-2.0
// What Linux says about this machine in text files: memory, control groups, which processors share a core
// and which are slow ones. Every reader takes the root directory, so that recorded machines can be tested;
// what is missing or malformed is absent from the answer, never an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::hw {

// The content of a small file; empty when it cannot be read.
std::string ReadTextFile(const std::string& path);

// "0-3,8" -> {0, 1, 2, 3, 8}. Empty when malformed or beyond 64 Ki processors.
std::vector<size_t> ParseCpuList(std::string_view text);

// The first "model name" of /proc/cpuinfo; empty when there is none.
std::string ParseModelName(std::string_view cpuinfo);

struct MemoryInfo {
  size_t total_bytes = 0;      // 0: unknown
  size_t available_bytes = 0;  // 0: unknown
};
// Of /proc/meminfo. Kernels without MemAvailable get free plus buffers plus page cache.
MemoryInfo ParseMemInfo(std::string_view meminfo);

// The tightest limits of the control groups (version 1, version 2 or both) that this process is in.
struct ControlGroup {
  std::optional<double> cpus;                    // quota / period, 1.5 for "150000 100000"
  std::optional<size_t> memory_limit_bytes;      // lowest limit from this group up to the root
  std::optional<size_t> memory_available_bytes;  // lowest (limit - use + page cache), from there too
};
// Reads <root>/proc/self/cgroup and <root>/sys/fs/cgroup. Groups that the path names but a container does
// not see are passed over: their mount point is then the group itself.
ControlGroup ReadControlGroup(const std::string& root);

// Which logical processors belong together, by the numbers that affinity masks use.
struct Topology {
  std::vector<std::vector<size_t>> cores;  // logical processors of each physical core, ascending
  std::vector<size_t> efficiency_cpus;     // logical processors of the slow kind
};
// Reads <root>/sys/devices/system/cpu and the lists that hybrid processors have in <root>/sys/devices:
// cpu_atom, cpu_lowpower. Empty where the kernel tells nothing.
Topology ReadTopology(const std::string& root);

}  // namespace qwen3vl::hw
