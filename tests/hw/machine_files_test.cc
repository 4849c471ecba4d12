// SPDX-License-Identifier: Apache-2.0
#include "hw/machine_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/temp_dir.h"

namespace qwen3vl::hw {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

TEST(MachineFiles, CpuListsAreRangesAndSingleNumbers) {
  EXPECT_THAT(ParseCpuList("0-3,8\n"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(ParseCpuList("5"), ElementsAre(5));
  EXPECT_THAT(ParseCpuList("8,0-1,1"), ElementsAre(0, 1, 8));
}

TEST(MachineFiles, MalformedCpuListsAreEmpty) {
  for (const char* text :
       {"", "\n", "a", "1-", "-1", "3-1", "0,,1", "1-2-3", "0x10", "0-4294967295", "99999999999999999999"})
    EXPECT_THAT(ParseCpuList(text), IsEmpty()) << text;
}

TEST(MachineFiles, ModelNameIsTheFirst) {
  EXPECT_EQ(ParseModelName("processor\t: 0\nmodel\t\t: 1\nmodel name\t: A: B \nmodel name\t: C\n"), "A: B");
  EXPECT_EQ(ParseModelName("processor\t: 0\n"), "");
  EXPECT_EQ(ParseModelName(""), "");
}

TEST(MachineFiles, MemInfoInKibibytes) {
  const MemoryInfo info = ParseMemInfo("MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:   600 kB\n");
  EXPECT_EQ(info.total_bytes, 1000u * 1024);
  EXPECT_EQ(info.available_bytes, 600u * 1024);
}

TEST(MachineFiles, OldKernelsCountFreeAndCachePages) {
  const MemoryInfo info =
      ParseMemInfo("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 20 kB\nCached: 300 kB\n");
  EXPECT_EQ(info.available_bytes, 420u * 1024);
}

TEST(MachineFiles, MalformedMemInfoIsUnknown) {
  for (const char* text : {"", "MemTotal:\n", "MemTotal: many kB\n", "MemTotal: -5 kB\n", "\0\0"}) {
    EXPECT_EQ(ParseMemInfo(text).total_bytes, 0u) << text;
    EXPECT_EQ(ParseMemInfo(text).available_bytes, 0u) << text;
  }
}

TEST(MachineFiles, UnreadableFileIsEmpty) {
  const test::TempDir dir;
  EXPECT_EQ(ReadTextFile(dir.File("missing")), "");
  EXPECT_EQ(ReadTextFile(dir.path().string()), "");  // a folder can be opened, but not read
}

TEST(ControlGroup, TightestLimitOnTheWayUpCounts) {
  const test::TempDir root;
  root.Write("proc/self/cgroup", "0::/a/b\n");
  root.Write("sys/fs/cgroup/a/b/memory.max", "4000000\n");
  root.Write("sys/fs/cgroup/a/b/memory.current", "100000\n");
  root.Write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  root.Write("sys/fs/cgroup/a/memory.max", "3000000\n");
  root.Write("sys/fs/cgroup/a/memory.current", "2500000\n");
  root.Write("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  root.Write("sys/fs/cgroup/other/memory.max", "1\n");
  const ControlGroup group = ReadControlGroup(root.path().string());
  EXPECT_THAT(group.cpus, Optional(3.0));
  EXPECT_THAT(group.memory_limit_bytes, Optional(3000000u));
  EXPECT_THAT(group.memory_available_bytes, Optional(500000u));
}

TEST(ControlGroup, HighWaterMarkIsALimitToo) {
  const test::TempDir root;
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "max\n");
  root.Write("sys/fs/cgroup/memory.high", "1000000\n");
  EXPECT_THAT(ReadControlGroup(root.path().string()).memory_limit_bytes, Optional(1000000u));
}

TEST(ControlGroup, UseAboveTheLimitLeavesNothing) {
  const test::TempDir root;
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "1000000\n");
  root.Write("sys/fs/cgroup/memory.current", "1200000\n");
  EXPECT_THAT(ReadControlGroup(root.path().string()).memory_available_bytes, Optional(0u));
}

TEST(ControlGroup, MalformedFilesLimitNothing) {
  for (const char* groups :
       {"", "nonsense", "0::", ":::::\n", "0::/../../x\n", "4:memory:/\n1:cpu:/\n0::/\n"}) {
    const test::TempDir root;
    root.Write("proc/self/cgroup", groups);
    for (const char* file : {"cpu.max", "memory.max", "memory.current", "memory.stat", "cpu/cpu.cfs_quota_us",
                             "cpu/cpu.cfs_period_us", "memory/memory.limit_in_bytes"})
      root.Write(std::string("sys/fs/cgroup/") + file, "0 zero\n");
    const ControlGroup group = ReadControlGroup(root.path().string());
    EXPECT_EQ(group.cpus, std::nullopt) << groups;
    EXPECT_EQ(group.memory_limit_bytes, std::nullopt) << groups;
  }
}

TEST(Topology, GroupsThreadsOfACore) {
  const test::TempDir root;
  root.Write("sys/devices/system/cpu/online", "0-2,5\n");
  root.Write("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,5\n");
  root.Write("sys/devices/system/cpu/cpu5/topology/thread_siblings_list", "0,5\n");
  root.Write("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "garbage\n");
  root.Write("sys/devices/cpu_atom/cpus", "2\n");
  root.Write("sys/devices/cpu_lowpower/cpus", "1\n");
  const Topology topology = ReadTopology(root.path().string());
  EXPECT_THAT(topology.cores, ElementsAre(ElementsAre(0, 5), ElementsAre(1), ElementsAre(2)));
  EXPECT_THAT(topology.efficiency_cpus, ElementsAre(1, 2));
}

TEST(Topology, IsEmptyWithoutFiles) {
  const test::TempDir root;
  EXPECT_THAT(ReadTopology(root.path().string()).cores, IsEmpty());
}

}  // namespace
}  // namespace qwen3vl::hw
