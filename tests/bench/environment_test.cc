// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/environment.h"

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace qwen3vl::bench {
namespace {

TEST(MachineState, ReadsWhatTheSystemTells) {
  const test::TempDir root;
  root.Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3400123\n");
  root.Write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
  root.Write("sys/class/thermal/thermal_zone0/temp", "45000\n");
  root.Write("sys/class/thermal/thermal_zone1/temp", "71500\n");
  root.Write("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "12\n");
  const MachineState s = ReadMachineState(root.path().string());
  EXPECT_EQ(s.governor, "powersave");
  EXPECT_DOUBLE_EQ(s.clock_mhz.value(), 3400.123);
  EXPECT_DOUBLE_EQ(s.temperature_c.value(), 71.5);
  EXPECT_EQ(s.throttle_events, 12u);
}

TEST(MachineState, FallsBackToTheClockOfCpuinfo) {
  const test::TempDir root;
  root.Write("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2793.436\n");
  EXPECT_DOUBLE_EQ(ReadMachineState(root.path().string()).clock_mhz.value(), 2793.436);
}

TEST(MachineState, IsAbsentWhereNothingIsTold) {
  const test::TempDir root;
  root.Write("sys/class/thermal/thermal_zone0/temp", "broken\n");
  EXPECT_EQ(ReadMachineState(root.path().string()), MachineState{});
}

TEST(Environment, NamesBuildAndMachine) {
  const Environment e = DescribeEnvironment();
  EXPECT_FALSE(e.version.empty());
  EXPECT_FALSE(e.compiler.empty());
  EXPECT_FALSE(e.cpu.empty());
  EXPECT_GE(e.physical_cores, 1u);
}

}  // namespace
}  // namespace qwen3vl::bench
