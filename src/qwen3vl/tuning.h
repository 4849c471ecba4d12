// SPDX-License-Identifier: Apache-2.0
// What `bench tune` measured on this machine and later runs use: one small file of the user, tuning.json in
// the folder qwen3vl of hw::UserCacheFolder(). Each entry belongs to one processor model, instruction set,
// thread count and version of this project; the file may hold those of several.
#pragma once

#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "hw/tile_plan.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

struct TuningKey {
  std::string cpu, isa, version;
  size_t threads = 1;

  bool operator==(const TuningKey&) const = default;
};

struct TuningEntry {
  TuningKey key;
  hw::TunedPlan plan;
  bool fastest = false;  // of the thread counts measured together with it
};

// The key of this machine and this build.
TuningKey CurrentKey(const hw::CpuInfo& cpu, size_t threads);

// Empty where there is no cache folder.
std::string TuningPath();
// Throws Error(kCorruptFile) when the file is not what StoreTuning writes; empty when there is no file.
std::vector<TuningEntry> ReadTuning(const std::string& path);
// Adds `entries`, in place of those of the same processor, instruction set, version and shape of heads; what
// cannot be read there is replaced. Throws Error(kUnsupported) when the file cannot be written.
void StoreTuning(const std::string& path, const std::vector<TuningEntry>& entries);

struct Tuning {
  std::vector<hw::TunedPlan> plans;  // empty: none is stored for this key
  size_t threads = 0;                // that they are for
  std::string status;                // "none stored", "tuning.json", "ignored: ...", for people
};

// The stored plans for `threads` threads, or, where that is 0, for the fastest of the measured counts; where
// none was measured `threads` is the processor's default. A file that is corrupt, or only from other
// processors or versions, is ignored with one warning to `log`.
Tuning FindTuning(const hw::CpuInfo& cpu, size_t threads, const LogFn& log);

}  // namespace qwen3vl
