// SPDX-License-Identifier: Apache-2.0
#include "hw/cpu_info.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/machines.h"

namespace qwen3vl::hw {
namespace {

using test::kGib;
using test::kKib;
using test::kMib;
using test::RecordedMachine;

TEST(CpuInfo, LaptopUsesItsPhysicalCores) {
  const CpuInfo cpu = test::Probe(test::LaptopI5_10210U());
  EXPECT_EQ(cpu.model_name, "Intel(R) Core(TM) i5-10210U CPU @ 1.60GHz");
  EXPECT_EQ(cpu.logical_cores, 8u);
  EXPECT_EQ(cpu.physical_cores, 4u);
  EXPECT_EQ(cpu.performance_cores, 4u);
  EXPECT_EQ(cpu.efficiency_cores, 0u);
  EXPECT_EQ(cpu.default_threads, 4u);
  EXPECT_EQ(cpu.l2_bytes, 256 * kKib);
  EXPECT_EQ(cpu.l3_bytes, 6 * kMib);
  EXPECT_EQ(cpu.memory_total_bytes, 7951688 * kKib);
  EXPECT_EQ(cpu.memory_available_bytes, 4 * kGib);
  EXPECT_FALSE(cpu.container_limited);
}

TEST(CpuInfo, HybridLeavesSlowCoresOut) {
  const CpuInfo cpu = test::Probe(test::AlderLakeI7_12700());
  EXPECT_EQ(cpu.logical_cores, 20u);
  EXPECT_EQ(cpu.physical_cores, 12u);
  EXPECT_EQ(cpu.performance_cores, 8u);
  EXPECT_EQ(cpu.efficiency_cores, 4u);
  EXPECT_EQ(cpu.default_threads, 8u);
}

TEST(CpuInfo, SlowCoresAreUsedWhereNothingElseIsAllowed) {
  RecordedMachine machine = test::AlderLakeI7_12700();
  machine.allowed_cpus = {16, 17, 18};
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.performance_cores, 0u);
  EXPECT_EQ(cpu.efficiency_cores, 3u);
  EXPECT_EQ(cpu.default_threads, 3u);
}

TEST(CpuInfo, AffinityCountsCoresNotThreads) {
  RecordedMachine machine = test::LaptopI5_10210U();
  machine.allowed_cpus = {0, 1, 4, 5};  // two cores with both threads
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.logical_cores, 4u);
  EXPECT_EQ(cpu.physical_cores, 2u);
  EXPECT_EQ(cpu.default_threads, 2u);
  EXPECT_FALSE(cpu.container_limited);
}

TEST(CpuInfo, CloudMachineWithUnlimitedGroupsIsNotLimited) {
  const CpuInfo cpu = test::Probe(test::CloudXeon());
  EXPECT_EQ(cpu.default_threads, 2u);
  EXPECT_EQ(cpu.memory_total_bytes, 24684092 * kKib);
  EXPECT_EQ(cpu.best_isa, Isa::kAvx512Vnni);
  EXPECT_FALSE(cpu.container_limited);
}

class ContainerTest : public testing::TestWithParam<RecordedMachine (*)()> {};
INSTANTIATE_TEST_SUITE_P(Versions, ContainerTest, testing::Values(test::Container, test::ContainerVersion1),
                         [](const auto& p) { return p.index == 0 ? "v2" : "v1"; });

TEST_P(ContainerTest, LimitsCoresAndMemory) {
  const CpuInfo cpu = test::Probe(GetParam()());
  EXPECT_TRUE(cpu.container_limited);
  EXPECT_EQ(cpu.logical_cores, 2u);  // 1.5, rounded
  EXPECT_EQ(cpu.default_threads, 2u);
  EXPECT_EQ(cpu.memory_total_bytes, 2 * kGib);
  EXPECT_EQ(cpu.memory_available_bytes, 1 * kGib);  // 2 - (1.5 - 0.5)
}

TEST(CpuInfo, QuotaNeverGoesBelowOneCore) {
  RecordedMachine machine = test::AlderLakeI7_12700();
  machine.files.emplace_back("sys/fs/cgroup/cpu.max", "20000 100000\n");
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.logical_cores, 1u);
  EXPECT_EQ(cpu.performance_cores, 1u);
  EXPECT_EQ(cpu.efficiency_cores, 0u);
  EXPECT_EQ(cpu.default_threads, 1u);
}

TEST(CpuInfo, QuotaAboveTheMachineLimitsNothing) {
  RecordedMachine machine = test::LaptopI5_10210U();
  machine.files.emplace_back("sys/fs/cgroup/cpu.max", "6400000 100000\n");
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.logical_cores, 8u);
  EXPECT_FALSE(cpu.container_limited);
}

TEST(CpuInfo, KnowingNothingStillAnswers) {
  const CpuInfo cpu = test::Probe(RecordedMachine{});
  EXPECT_EQ(cpu.model_name, "unknown processor");
  EXPECT_EQ(cpu.logical_cores, 1u);
  EXPECT_EQ(cpu.physical_cores, 1u);
  EXPECT_EQ(cpu.default_threads, 1u);
  EXPECT_EQ(cpu.memory_total_bytes, 0u);
  EXPECT_EQ(cpu.l2_bytes, 256 * kKib);
}

TEST(CpuInfo, ProcessorsWithoutTopologyAreCoresOfTheirOwn) {
  RecordedMachine machine;
  machine.allowed_cpus = {0, 1, 2};
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.logical_cores, 3u);
  EXPECT_EQ(cpu.default_threads, 3u);
}

TEST(CpuInfo, ImplausibleCachesBecomeDefaults) {
  RecordedMachine machine = test::LaptopI5_10210U();
  machine.l1d_bytes = 0;
  machine.l2_bytes = 1;
  machine.l3_bytes = 64 * kGib;
  const CpuInfo cpu = test::Probe(machine);
  EXPECT_EQ(cpu.l1d_bytes, CpuInfo().l1d_bytes);
  EXPECT_EQ(cpu.l2_bytes, CpuInfo().l2_bytes);
  EXPECT_EQ(cpu.l3_bytes, CpuInfo().l3_bytes);
}

TEST(CpuInfo, ThisMachineAnswersConsistently) {
  const CpuInfo cpu = ProbeCpu();
  EXPECT_FALSE(cpu.model_name.empty());
  EXPECT_GE(cpu.logical_cores, cpu.physical_cores);
  EXPECT_EQ(cpu.physical_cores, cpu.performance_cores + cpu.efficiency_cores);
  EXPECT_GE(cpu.default_threads, 1u);
  EXPECT_LE(cpu.default_threads, cpu.physical_cores);
  EXPECT_GE(cpu.l2_bytes, cpu.l1d_bytes);
  EXPECT_GT(cpu.memory_total_bytes, 0u);
  EXPECT_LE(cpu.memory_available_bytes, cpu.memory_total_bytes);
  EXPECT_EQ(cpu.best_isa, AvailableIsas().back());
}

}  // namespace
}  // namespace qwen3vl::hw
