// SPDX-License-Identifier: Apache-2.0
// What `bench tune` measured on this machine and later runs use: one small file of the user, tuning.json in
// the folder qwen3vl of hw::UserCacheFolder(). Each entry belongs to one processor model, instruction set,
// thread count and version of this project; the file may hold those of several.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "hw/tile_plan.h"
#include "qwen3vl/config.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

// Beyond any machine; what is counted or allocated by threads stays small.
inline constexpr size_t kMaxThreads = 1024;

struct TuningKey {
  std::string cpu, isa, version;
  size_t threads = 1;

  bool operator==(const TuningKey&) const = default;
};

struct TuningEntry {
  TuningKey key;
  hw::TunedPlan plan;
  bool fastest = false;  // of the thread counts of this shape; none is before several were compared
};

// What entries are told apart by, besides their key.
struct HeadShape {
  size_t head_dim = 0;
  size_t group = 1;  // query heads that share a key/value head

  bool operator==(const HeadShape&) const = default;
};
// Of the text tower, and of the vision tower where there is one.
std::vector<HeadShape> HeadShapesOf(const ModelConfig& config);

// The key of this machine and this build.
TuningKey CurrentKey(const hw::CpuInfo& cpu, size_t threads);

// Empty where there is no cache folder.
std::string TuningPath();
// Throws Error(kCorruptFile) when the file is not what StoreTuning writes; empty when there is no file.
std::vector<TuningEntry> ReadTuning(const std::string& path);
// Adds `entries`, in place of those of the same key and shape of heads. Where one of them is the fastest
// thread count of its shape, stored ones no longer are. What cannot be read there is replaced. Throws
// Error(kUnsupported) when the file cannot be written.
void StoreTuning(const std::string& path, std::vector<TuningEntry> entries);

struct Tuning {
  std::vector<hw::TunedPlan> plans;  // empty: none is stored for this key
  std::string status;                // "none stored", "tuning.json", "ignored: ...", for people
};

// The threads that runs with heads of these shapes take when none are asked for: the count stored as fastest
// for the first shape that has one which this process may use, else the processor's default.
size_t TunedThreads(const hw::CpuInfo& cpu, std::span<const HeadShape> heads);

// The stored plans for `threads` threads. A file that is corrupt, or only from other processors or versions,
// is ignored with one warning to `log`.
Tuning FindTuning(const hw::CpuInfo& cpu, size_t threads, const LogFn& log);

}  // namespace qwen3vl
