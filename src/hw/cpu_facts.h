// SPDX-License-Identifier: Apache-2.0
// What ProbeCpu() has gathered, before it is judged: the judgement is a pure function, so that recorded
// machines can be its test data.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "hw/machine_files.h"

namespace qwen3vl::hw {

struct CpuFacts {
  std::string model_name;
  std::vector<size_t> allowed_cpus;  // affinity mask, ascending; empty: unknown
  Topology topology;
  ControlGroup group;
  MemoryInfo memory;
  size_t l1d_bytes = 0;  // caches as reported, 0: unknown; L1 and L2 are one core's share
  size_t l2_bytes = 0;
  size_t l3_bytes = 0;
  Isa best_isa = Isa::kBaseline;
  bool has_f16c = false;
};

// What the files under <root>/proc and <root>/sys say; the rest stays unknown.
CpuFacts ReadFacts(const std::string& root);

// Cores this process may use, with the container's quota applied (rounded to whole cores, at least 1);
// memory with its limit applied; the defaults of CpuInfo for caches that are unknown or implausible, as
// hypervisors like to report.
CpuInfo DescribeCpu(const CpuFacts& facts);

}  // namespace qwen3vl::hw
