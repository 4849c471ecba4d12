// SPDX-License-Identifier: Apache-2.0
#include "hw/cpu_info.h"

#include <cpuinfo.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <set>
#include <thread>
#include <utility>

#include "hw/cpu_facts.h"
#include "hw/isa_dispatch.h"
#include "hw/machine_files.h"
#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

// ---- instruction set ----

constexpr std::array kIsas = {Isa::kBaseline, Isa::kSse4, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni};

template <class Isas>
std::string Names(const Isas& isas) {
  std::string names;
  for (const Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(Name(isa));
  return names;
}

// The instruction set called `name`, which must be one of `available`. Throws Error.
Isa Resolve(std::string_view name, const std::vector<Isa>& available) {
  if (name == "auto") return available.back();
  const auto isa = std::ranges::find_if(kIsas, [&](Isa i) { return Name(i) == name; });
  if (isa == kIsas.end())
    throw Error(ErrorCode::kInvalidArgument, "instruction set \"" + std::string(name) +
                                                 "\": unknown, want auto or one of " + Names(kIsas));
  if (!std::ranges::count(available, *isa))
    throw Error(ErrorCode::kInvalidArgument, "instruction set " + std::string(name) +
                                                 ": not on this processor, which has " + Names(available));
  return *isa;
}

// What the processor has, read before anything is restricted, and whether QWEN3VL_ISA could be obeyed.
struct IsaState {
  std::vector<Isa> available = DetectIsas();
  std::string environment_error;
  std::atomic<bool> usable = true;  // false until a bad QWEN3VL_ISA is overridden

  IsaState() {
    const char* name = std::getenv("QWEN3VL_ISA");
    if (!name || !*name) return;
    try {
      RestrictDispatch(Resolve(name, available));
    } catch (const Error& e) {
      environment_error = std::string("environment variable QWEN3VL_ISA: ") + e.what();
      usable = false;
    }
  }
};

IsaState& State() {
  static IsaState state;
  return state;
}

// The environment must be obeyed by the first kernel that runs, which need not ask anybody here.
[[maybe_unused]] const IsaState& kStateAtStart = State();

// ---- machine ----

// The logical processors that this process may run on; empty when the kernel does not say.
std::vector<size_t> AllowedCpus() {
  // The kernel refuses a mask shorter than its own: grow until it fits.
  for (size_t n_cpus = 1024; n_cpus <= 65536; n_cpus *= 4) {
    cpu_set_t* mask = CPU_ALLOC(n_cpus);
    if (!mask) return {};
    const size_t bytes = CPU_ALLOC_SIZE(n_cpus);
    std::vector<size_t> cpus;
    const bool ok = sched_getaffinity(0, bytes, mask) == 0;
    for (size_t cpu = 0; ok && cpu < n_cpus; ++cpu)
      if (CPU_ISSET_S(cpu, bytes, mask)) cpus.push_back(cpu);
    CPU_FREE(mask);
    if (ok) return cpus;
  }
  return {};
}

// Cores as the cpuinfo library counts them, for kernels without the topology files.
std::vector<std::vector<size_t>> LibraryCores() {
  std::vector<std::vector<size_t>> cores;
  for (uint32_t c = 0; c < cpuinfo_get_cores_count(); ++c) {
    const cpuinfo_core* core = cpuinfo_get_core(c);
    std::vector<size_t> cpus;
    for (uint32_t p = 0; p < core->processor_count; ++p)
      cpus.push_back(static_cast<size_t>(cpuinfo_get_processor(core->processor_start + p)->linux_id));
    std::ranges::sort(cpus);
    cores.push_back(std::move(cpus));
  }
  return cores;
}

// One core's share of a cache.
size_t ShareOfCore(const cpuinfo_cache* cache) {
  if (!cache) return 0;
  std::set<const cpuinfo_core*> cores;
  for (uint32_t p = 0; p < cache->processor_count; ++p)
    if (const cpuinfo_processor* cpu = cpuinfo_get_processor(cache->processor_start + p))
      cores.insert(cpu->core);
  return cache->size / std::max<size_t>(1, cores.size());
}

void AddLibraryFacts(CpuFacts& facts) {
  // Without these files the library would complain on stderr.
  if (ReadTextFile("/proc/cpuinfo").empty() || ReadTextFile("/sys/devices/system/cpu/possible").empty())
    return;
  if (!cpuinfo_initialize() || cpuinfo_get_processors_count() == 0) return;
  if (facts.topology.cores.empty()) facts.topology.cores = LibraryCores();
  if (facts.model_name.empty() && cpuinfo_get_packages_count() > 0)
    facts.model_name = cpuinfo_get_package(0)->name;
  const auto& cache = cpuinfo_get_processor(0)->cache;
  facts.l1d_bytes = ShareOfCore(cache.l1d);
  facts.l2_bytes = ShareOfCore(cache.l2);
  facts.l3_bytes = cache.l3 ? cache.l3->size : 0;
  facts.has_f16c = cpuinfo_has_x86_f16c();
}

}  // namespace

std::string_view Name(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kSse4:
      return "sse4";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
  }
  return "unknown";
}

CpuInfo ProbeCpu() {
  CpuFacts facts = ReadFacts("");
  facts.allowed_cpus = AllowedCpus();
  facts.best_isa = State().available.back();
  AddLibraryFacts(facts);
  return DescribeCpu(facts);
}

void SelectIsa(Isa isa) { SelectIsa(Name(isa)); }

void SelectIsa(std::string_view name) {
  IsaState& state = State();
  RestrictDispatch(Resolve(name, state.available));
  state.usable = true;
}

Isa SelectedIsa() {
  const IsaState& state = State();
  if (!state.usable) throw Error(ErrorCode::kInvalidArgument, state.environment_error);
  return DispatchedIsa();
}

std::vector<Isa> AvailableIsas() { return State().available; }

std::string UserCacheFolder() {
  const auto absolute = [](const char* path) { return path && path[0] == '/'; };
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); absolute(cache)) return cache;
  if (const char* home = std::getenv("HOME"); absolute(home)) return std::string(home) + "/.cache";
  return "";
}

}  // namespace qwen3vl::hw
