// SPDX-License-Identifier: Apache-2.0
#include "hw/gpu_info.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "hw/cuda_driver.h"
#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

constexpr int kMaxDevices = 64;

enum Attribute {
  kMaxSharedMemoryPerBlock = 8,
  kMultiprocessorCount = 16,
  kKernelTimeLimit = 17,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
};

std::string VersionText(const CudaDriver& driver) {
  int version = 0;  // 12040 is 12.4
  if (driver.DriverGetVersion(&version) != kCudaSuccess || version <= 0) return "of unknown version";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::optional<GpuInfo> Describe(const CudaDriver& driver, int ordinal) {
  int device = 0;
  if (driver.DeviceGet(&device, ordinal) != kCudaSuccess) return std::nullopt;
  bool ok = true;
  const auto attribute = [&](Attribute which) {
    int value = 0;
    ok = driver.DeviceGetAttribute(&value, which, device) == kCudaSuccess && value >= 0 && ok;
    return value;
  };
  std::array<char, 256> name{};
  ok = driver.DeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device) == kCudaSuccess;
  GpuInfo gpu;
  gpu.ordinal = ordinal;
  gpu.name = name.data();
  gpu.compute_major = attribute(kComputeCapabilityMajor);
  gpu.compute_minor = attribute(kComputeCapabilityMinor);
  gpu.multiprocessors = static_cast<size_t>(attribute(kMultiprocessorCount));
  gpu.shared_bytes_per_block = static_cast<size_t>(attribute(kMaxSharedMemoryPerBlock));
  gpu.drives_display = attribute(kKernelTimeLimit) != 0;
  ok = driver.DeviceTotalMem(&gpu.memory_total_bytes, device) == kCudaSuccess && ok;
  if (!ok) return std::nullopt;
  return gpu;
}

// Starts the driver and counts its devices; returns why there are none, or an empty text.
std::string CountDevices(const CudaDriver& driver, int& count) {
  int error = driver.Init(0);
  if (error == kCudaSuccess) error = driver.DeviceGetCount(&count);
  if (error == kCudaNoDevice || (error == kCudaSuccess && count <= 0)) return "driver present, no device";
  if (error != kCudaSuccess)
    return "driver present, but it does not start (CUDA error " + std::to_string(error) + ")";
  count = std::min(count, kMaxDevices);
  return {};
}

}  // namespace

GpuList ListGpus() { return ListGpus(kCudaDriverLibrary); }

GpuList ListGpus(const std::string& driver_library) {
  CudaDriver driver;
  try {
    driver = LoadCudaDriver(driver_library);
  } catch (const Error& e) {
    return {{}, e.what()};
  }
  if (driver.missing_to_list) return {{}, TooOld(driver.missing_to_list)};
  int count = 0;
  if (std::string why = CountDevices(driver, count); !why.empty()) return {{}, std::move(why)};

  GpuList list;
  for (int i = 0; i < count; ++i)
    if (auto gpu = Describe(driver, i)) list.devices.push_back(std::move(*gpu));
  const size_t n = list.devices.size();
  list.status =
      "driver " + VersionText(driver) + ", " + std::to_string(n) + (n == 1 ? " device" : " devices");
  const size_t silent = static_cast<size_t>(count) - n;
  if (silent) list.status += ", " + std::to_string(silent) + " more without an answer";
  return list;
}

}  // namespace qwen3vl::hw
