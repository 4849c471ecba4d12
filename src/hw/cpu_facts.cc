// SPDX-License-Identifier: Apache-2.0
#include "hw/cpu_facts.h"

#include <algorithm>
#include <cmath>

namespace qwen3vl::hw {
namespace {

bool Has(const std::vector<size_t>& sorted, size_t value) {
  return std::ranges::binary_search(sorted, value);
}

struct CoreCount {
  size_t performance = 0;
  size_t efficiency = 0;
};

// Physical cores of which at least one logical processor may be used.
CoreCount CountCores(const Topology& topology, const std::vector<size_t>& allowed) {
  CoreCount count;
  std::vector<size_t> known;
  const auto add = [&](size_t cpu) {
    ++(Has(topology.efficiency_cpus, cpu) ? count.efficiency : count.performance);
  };
  for (const std::vector<size_t>& core : topology.cores) {
    known.insert(known.end(), core.begin(), core.end());
    const auto usable = [&](size_t cpu) { return allowed.empty() || Has(allowed, cpu); };
    if (std::ranges::any_of(core, usable)) add(core.front());
  }
  std::ranges::sort(known);
  for (const size_t cpu : allowed)
    if (!Has(known, cpu)) add(cpu);  // nothing is known about it: a core of its own
  return count;
}

size_t CountLogical(const CpuFacts& facts) {
  if (!facts.allowed_cpus.empty()) return facts.allowed_cpus.size();
  size_t count = 0;
  for (const std::vector<size_t>& core : facts.topology.cores) count += core.size();
  return count;
}

void DescribeCores(const CpuFacts& facts, CpuInfo& info) {
  const CoreCount cores = CountCores(facts.topology, facts.allowed_cpus);
  info.logical_cores = std::max<size_t>(1, CountLogical(facts));
  info.performance_cores = cores.performance + cores.efficiency == 0 ? 1 : cores.performance;
  info.efficiency_cores = cores.efficiency;
  if (facts.group.cpus && *facts.group.cpus < static_cast<double>(info.logical_cores)) {
    const size_t quota = std::max<size_t>(1, static_cast<size_t>(std::lround(*facts.group.cpus)));
    info.container_limited = true;
    info.logical_cores = std::min(info.logical_cores, quota);
    info.performance_cores = std::min(info.performance_cores, quota);
    info.efficiency_cores = std::min(info.efficiency_cores, quota - info.performance_cores);
  }
  info.physical_cores = info.performance_cores + info.efficiency_cores;
  info.default_threads = info.performance_cores ? info.performance_cores : info.physical_cores;
}

void DescribeMemory(const CpuFacts& facts, CpuInfo& info) {
  info.memory_total_bytes = facts.memory.total_bytes;
  info.memory_available_bytes = facts.memory.available_bytes;
  const auto& limit = facts.group.memory_limit_bytes;
  if (!limit || (info.memory_total_bytes && *limit >= info.memory_total_bytes)) return;
  info.container_limited = true;
  info.memory_total_bytes = *limit;
  const size_t in_group = facts.group.memory_available_bytes.value_or(*limit);
  info.memory_available_bytes =
      info.memory_available_bytes ? std::min(info.memory_available_bytes, in_group) : in_group;
}

// Takes `reported` over when it is between the smallest and the largest cache of its level ever built.
void SetCache(size_t reported, size_t least, size_t most, size_t& bytes) {
  if (reported >= least && reported <= most) bytes = reported;
}

}  // namespace

CpuFacts ReadFacts(const std::string& root) {
  CpuFacts facts;
  facts.model_name = ParseModelName(ReadTextFile(root + "/proc/cpuinfo"));
  facts.topology = ReadTopology(root);
  facts.group = ReadControlGroup(root);
  facts.memory = ParseMemInfo(ReadTextFile(root + "/proc/meminfo"));
  return facts;
}

CpuInfo DescribeCpu(const CpuFacts& facts) {
  constexpr size_t kKib = 1024, kMib = 1024 * kKib;
  CpuInfo info;
  info.model_name = facts.model_name.empty() ? "unknown processor" : facts.model_name;
  DescribeCores(facts, info);
  DescribeMemory(facts, info);
  SetCache(facts.l1d_bytes, 8 * kKib, 512 * kKib, info.l1d_bytes);
  SetCache(facts.l2_bytes, 64 * kKib, 32 * kMib, info.l2_bytes);
  SetCache(facts.l3_bytes, 512 * kKib, 2048 * kMib, info.l3_bytes);
  info.best_isa = facts.best_isa;
  info.has_f16c = facts.has_f16c;
  return info;
}

}  // namespace qwen3vl::hw
