// SPDX-License-Identifier: Apache-2.0
// Computers as their kernels describe them in /proc and /sys, and GPUs as their driver does: test data for
// everything that adapts to the machine, so that no test needs the machine.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "hw/cpu_facts.h"
#include "hw/gpu_info.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {

struct RecordedMachine {
  std::vector<std::pair<std::string, std::string>> files;  // path below the root, content
  std::vector<size_t> allowed_cpus;
  size_t l1d_bytes = 0;  // as the processor reports them
  size_t l2_bytes = 0;
  size_t l3_bytes = 0;
  hw::Isa best_isa = hw::Isa::kAvx2;
};

inline constexpr size_t kKib = 1024, kMib = 1024 * kKib, kGib = 1024 * kMib;

// What ProbeCpu() would answer on `machine`.
inline hw::CpuInfo Probe(const RecordedMachine& machine) {
  const TempDir root;
  for (const auto& [path, content] : machine.files) root.Write(path, content);
  hw::CpuFacts facts = hw::ReadFacts(root.path().string());
  facts.allowed_cpus = machine.allowed_cpus;
  facts.l1d_bytes = machine.l1d_bytes;
  facts.l2_bytes = machine.l2_bytes;
  facts.l3_bytes = machine.l3_bytes;
  facts.best_isa = machine.best_isa;
  return hw::DescribeCpu(facts);
}

inline std::vector<size_t> FirstCpus(size_t count) {
  std::vector<size_t> cpus(count);
  for (size_t i = 0; i < count; ++i) cpus[i] = i;
  return cpus;
}

inline std::string MemInfo(size_t total_kib, size_t available_kib) {
  return "MemTotal:       " + std::to_string(total_kib) +
         " kB\nMemFree:          812340 kB\nMemAvailable:   " + std::to_string(available_kib) +
         " kB\nBuffers:          120044 kB\nCached:          2270632 kB\n";
}

inline void AddSiblings(RecordedMachine& machine, size_t cpu, const std::string& siblings) {
  machine.files.emplace_back(
      "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", siblings + "\n");
}

// Laptop: 4 cores, 8 threads (core i has processors i and i + 4), 8 GB.
inline RecordedMachine LaptopI5_10210U() {
  RecordedMachine m;
  m.files = {{"proc/cpuinfo",
              "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 142\n"
              "model name\t: Intel(R) Core(TM) i5-10210U CPU @ 1.60GHz\nstepping\t: 12\n"},
             {"proc/meminfo", MemInfo(7951688, 4194304)},
             {"proc/self/cgroup", "0::/user.slice/user-1000.slice/session-2.scope\n"},
             {"sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"},
             {"sys/fs/cgroup/user.slice/memory.max", "max\n"},
             {"sys/devices/system/cpu/online", "0-7\n"}};
  for (size_t cpu = 0; cpu < 8; ++cpu)
    AddSiblings(m, cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
  m.allowed_cpus = FirstCpus(8);
  m.l1d_bytes = 32 * kKib;
  m.l2_bytes = 256 * kKib;
  m.l3_bytes = 6 * kMib;
  return m;
}

// Hybrid desktop, i7-12700: 8 fast cores with 2 threads each (processors 0-15), 4 slow ones (16-19).
inline RecordedMachine AlderLakeI7_12700() {
  RecordedMachine m;
  m.files = {{"proc/cpuinfo", "processor\t: 0\nmodel name\t: 12th Gen Intel(R) Core(TM) i7-12700\n"},
             {"proc/meminfo", MemInfo(32630004, 27000000)},
             {"proc/self/cgroup", "0::/\n"},
             {"sys/devices/system/cpu/online", "0-19\n"},
             {"sys/devices/cpu_core/cpus", "0-15\n"},
             {"sys/devices/cpu_atom/cpus", "16-19\n"}};
  for (size_t cpu = 0; cpu < 16; ++cpu)
    AddSiblings(m, cpu, std::to_string(cpu / 2 * 2) + "-" + std::to_string(cpu / 2 * 2 + 1));
  for (size_t cpu = 16; cpu < 20; ++cpu) AddSiblings(m, cpu, std::to_string(cpu));
  m.allowed_cpus = FirstCpus(20);
  m.l1d_bytes = 48 * kKib;
  m.l2_bytes = 1280 * kKib;
  m.l3_bytes = 25 * kMib;
  return m;
}

// Desktop: 8 cores, 16 threads, 32 GB.
inline RecordedMachine Ryzen5800X() {
  RecordedMachine m;
  m.files = {{"proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD Ryzen 7 5800X 8-Core Processor\n"},
             {"proc/meminfo", MemInfo(32796476, 30000000)},
             {"sys/devices/system/cpu/online", "0-15\n"}};
  for (size_t cpu = 0; cpu < 16; ++cpu)
    AddSiblings(m, cpu, std::to_string(cpu % 8) + "," + std::to_string(cpu % 8 + 8));
  m.allowed_cpus = FirstCpus(16);
  m.l1d_bytes = 32 * kKib;
  m.l2_bytes = 512 * kKib;
  m.l3_bytes = 32 * kMib;
  return m;
}

// Cloud machine: 2 processors of a server, threads of a core not told apart, version 1 control groups.
inline RecordedMachine CloudXeon() {
  RecordedMachine m;
  m.files = {{"proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor @ 2.80GHz\n"},
             {"proc/meminfo", MemInfo(24684092, 24334652)},
             {"proc/self/cgroup", "4:memory:/\n2:cpuacct:/\n1:cpu:/\n0::/\n"},
             {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
             {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
             {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
             {"sys/devices/system/cpu/online", "0-1\n"}};
  AddSiblings(m, 0, "0");
  AddSiblings(m, 1, "1");
  m.allowed_cpus = FirstCpus(2);
  m.l1d_bytes = 48 * kKib;
  m.l2_bytes = 1280 * kKib;
  m.l3_bytes = 48 * kMib;
  m.best_isa = hw::Isa::kAvx512Vnni;
  return m;
}

// The desktop above seen from a container that may use 1.5 processors and 2 GiB. Of 1.5 GiB in use, 0.5 GiB
// are file pages.
inline RecordedMachine Container() {
  RecordedMachine m = Ryzen5800X();
  m.files.insert(m.files.end(),
                 {{"proc/self/cgroup", "0::/\n"},
                  {"sys/fs/cgroup/cpu.max", "150000 100000\n"},
                  {"sys/fs/cgroup/memory.max", "2147483648\n"},
                  {"sys/fs/cgroup/memory.high", "max\n"},
                  {"sys/fs/cgroup/memory.current", "1610612736\n"},
                  {"sys/fs/cgroup/memory.stat",
                   "anon 1073741824\nfile 536870912\ninactive_file 402653184\nactive_file 134217728\n"}});
  return m;
}

// The same limits by version 1 control groups, without a namespace: the path is the host's, while the mount
// shows the group itself. The controllers of cpu are mounted together.
inline RecordedMachine ContainerVersion1() {
  RecordedMachine m = Ryzen5800X();
  const std::string path = "/docker/4f0c3bd3b2ee";
  m.files.insert(
      m.files.end(),
      {{"proc/self/cgroup", "9:memory:" + path + "\n4:cpu,cpuacct:" + path + "\n"},
       {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"},
       {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"},
       {"sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"},
       {"sys/fs/cgroup/memory/memory.usage_in_bytes", "1610612736\n"},
       {"sys/fs/cgroup/memory/memory.stat",
        "cache 536870912\ninactive_file 0\ntotal_inactive_file 402653184\ntotal_active_file 134217728\n"}});
  return m;
}

inline hw::GpuInfo Gtx1050() { return {"NVIDIA GeForce GTX 1050", 6, 1, 5, 48 * kKib, 2 * kGib, 0}; }
inline hw::GpuInfo Mx150() { return {"NVIDIA GeForce MX150", 6, 1, 3, 48 * kKib, 2 * kGib, 0}; }
inline hw::GpuInfo Gtx1080() { return {"NVIDIA GeForce GTX 1080", 6, 1, 20, 48 * kKib, 8 * kGib, 0}; }
inline hw::GpuInfo Rtx3060() { return {"NVIDIA GeForce RTX 3060", 8, 6, 28, 48 * kKib, 12 * kGib, 0}; }

}  // namespace qwen3vl::test
