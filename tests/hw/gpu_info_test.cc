// SPDX-License-Identifier: Apache-2.0
#include "hw/gpu_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/machines.h"
#include "support/temp_dir.h"

namespace qwen3vl::hw {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// Lists what the stand-in driver finds in `mode`.
GpuList ListFake(const char* mode) {
  setenv("FAKE_CUDA", mode, /*overwrite=*/1);
  return ListGpus(QWEN3VL_FAKE_CUDA);
}

void ExpectSame(const GpuInfo& found, const GpuInfo& want) {
  EXPECT_EQ(found.name, want.name);
  EXPECT_EQ(found.compute_major, want.compute_major);
  EXPECT_EQ(found.compute_minor, want.compute_minor);
  EXPECT_EQ(found.multiprocessors, want.multiprocessors);
  EXPECT_EQ(found.shared_bytes_per_block, want.shared_bytes_per_block);
  EXPECT_EQ(found.memory_total_bytes, want.memory_total_bytes);
}

TEST(GpuInfo, ListsADeviceOfCompute61) {
  const GpuList list = ListFake("one");
  EXPECT_EQ(list.status, "driver 12.4, 1 device");
  ASSERT_EQ(list.devices.size(), 1u);
  ExpectSame(list.devices[0], test::Gtx1050());
}

TEST(GpuInfo, KnowsADisplaysDeviceByItsTimeLimit) {
  EXPECT_FALSE(ListFake("one").devices.at(0).drives_display);
  EXPECT_TRUE(ListFake("display").devices.at(0).drives_display);
}

TEST(GpuInfo, ListsTwoDevicesInTheDriversOrder) {
  const GpuList list = ListFake("two");
  EXPECT_EQ(list.status, "driver 12.4, 2 devices");
  ASSERT_EQ(list.devices.size(), 2u);
  ExpectSame(list.devices[0], test::Gtx1050());
  ExpectSame(list.devices[1], test::Rtx3060());
}

TEST(GpuInfo, DeviceWithoutAnswerIsLeftOutAndSaid) {
  const GpuList list = ListFake("silent");
  EXPECT_EQ(list.status, "driver 12.4, 1 device, 1 more without an answer");
  ASSERT_EQ(list.devices.size(), 1u);
  ExpectSame(list.devices[0], test::Rtx3060());
}

TEST(GpuInfo, DriverWithoutDevice) {
  const GpuList list = ListFake("none");
  EXPECT_EQ(list.status, "driver present, no device");
  EXPECT_THAT(list.devices, IsEmpty());
}

TEST(GpuInfo, DriverThatDoesNotStart) {
  const GpuList list = ListFake("broken");
  EXPECT_EQ(list.status, "driver present, but it does not start (CUDA error 999)");
  EXPECT_THAT(list.devices, IsEmpty());
}

TEST(GpuInfo, DriverWithoutANeededFunctionIsTooOld) {
  const GpuList list = ListGpus(QWEN3VL_FAKE_CUDA_OLD);
  EXPECT_THAT(list.status, AllOf(HasSubstr("too old"), HasSubstr("cuDeviceTotalMem_v2")));
  EXPECT_THAT(list.devices, IsEmpty());
}

TEST(GpuInfo, NoDriver) {
  const GpuList list = ListGpus("libqwen3vl_no_such_driver.so.1");
  EXPECT_EQ(list.status, "no NVIDIA driver (libqwen3vl_no_such_driver.so.1 not found)");
  EXPECT_THAT(list.devices, IsEmpty());
}

TEST(GpuInfo, LibraryThatCannotBeLoaded) {
  const test::TempDir dir;
  const std::string path = dir.Write("libcuda.so.1", "not a library");
  EXPECT_THAT(ListGpus(path).status, StartsWith("no usable NVIDIA driver (" + path));
}

TEST(GpuInfo, ThisMachineHasSomethingToSay) { EXPECT_FALSE(ListGpus().status.empty()); }

}  // namespace
}  // namespace qwen3vl::hw
