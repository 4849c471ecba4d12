// SPDX-License-Identifier: Apache-2.0
// What the processor and the memory of this machine are, and which instruction set the kernels run on.
// Facts come from cpuinfo, /proc and the control group; a fact that cannot be read gets a stated default,
// never an error.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwen3vl::hw {

// The instruction sets that kernels are compiled for, worst first. The baseline is what every x86-64 has;
// Debian 12's Highway and GCC compile it one value at a time (HWY_SCALAR).
enum class Isa { kBaseline, kSse4, kAvx2, kAvx512, kAvx512Vnni };

std::string_view Name(Isa isa);  // "baseline", "sse4", "avx2", "avx512", "avx512vnni"

struct CpuInfo {
  std::string model_name;    // "Intel(R) Core(TM) i5-10210U CPU @ 1.60GHz"
  size_t logical_cores = 1;  // that this process may use (affinity and container quota applied)
  size_t physical_cores = 1;
  size_t performance_cores = 0;  // physical cores of the fast kind; equals physical_cores where all are alike
  size_t efficiency_cores = 0;
  size_t l1d_bytes = 32 * 1024;  // per core
  size_t l2_bytes = 256 * 1024;  // per core
  size_t l3_bytes = 4 << 20;     // shared
  Isa best_isa = Isa::kBaseline;
  bool has_f16c = false;
  size_t memory_total_bytes = 0;      // of the machine, or the container's limit where that is lower
  size_t memory_available_bytes = 0;  // what can be had now without swapping
  bool container_limited = false;     // a control group lowers cores or memory
  size_t default_threads = 1;  // physical cores without efficiency cores, not more than this process may use
};

// Reads this machine. Always answers.
CpuInfo ProbeCpu();

// The instruction set all kernels of this process use from now on: the processor is one, so this is
// process-wide. Initially the best one, or what the environment variable QWEN3VL_ISA names. `name` is one of
// those above, or "auto" for the best. Throws Error(kInvalidArgument) for an unknown name (listing the known)
// or one this processor lacks. Not to be called while kernels run.
void SelectIsa(Isa isa);
void SelectIsa(std::string_view name);
// What a kernel called now runs on. Throws Error(kInvalidArgument) when QWEN3VL_ISA names an instruction set
// that is unknown or lacking and SelectIsa() was not called since: loading a model asks, and so reports it.
Isa SelectedIsa();
// What this processor has of the instruction sets compiled in, worst first; never empty.
std::vector<Isa> AvailableIsas();

// Where this user's programs keep what they can make again: $XDG_CACHE_HOME, else $HOME/.cache; empty where
// neither is an absolute path.
std::string UserCacheFolder();

}  // namespace qwen3vl::hw
