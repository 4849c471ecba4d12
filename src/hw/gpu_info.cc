// SPDX-License-Identifier: Apache-2.0
// The few functions of the CUDA driver API that listing devices takes are declared here by their documented
// signatures, so that neither building nor starting needs anything of NVIDIA's.
#include "hw/gpu_info.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>
#include <utility>

namespace qwen3vl::hw {
namespace {

constexpr int kSuccess = 0;
constexpr int kErrorNoDevice = 100;
constexpr int kMaxDevices = 64;

enum Attribute {
  kMaxSharedMemoryPerBlock = 8,
  kMultiprocessorCount = 16,
  kComputeCapabilityMajor = 75,
  kComputeCapabilityMinor = 76,
};

struct Driver {
  int (*Init)(unsigned flags) = nullptr;
  int (*DriverGetVersion)(int* version) = nullptr;
  int (*DeviceGetCount)(int* count) = nullptr;
  int (*DeviceGet)(int* device, int ordinal) = nullptr;
  int (*DeviceGetName)(char* name, int size, int device) = nullptr;
  int (*DeviceGetAttribute)(int* value, int attribute, int device) = nullptr;
  int (*DeviceTotalMem)(size_t* bytes, int device) = nullptr;

  // Finds all functions in `library`; returns the name of the first missing one, or null.
  const char* Bind(void* library) {
    const char* missing = nullptr;
    const auto bind = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (!function && !missing) missing = name;
    };
    bind(Init, "cuInit");
    bind(DriverGetVersion, "cuDriverGetVersion");
    bind(DeviceGetCount, "cuDeviceGetCount");
    bind(DeviceGet, "cuDeviceGet");
    bind(DeviceGetName, "cuDeviceGetName");
    bind(DeviceGetAttribute, "cuDeviceGetAttribute");
    bind(DeviceTotalMem, "cuDeviceTotalMem_v2");
    return missing;
  }
};

std::string LoadFailure(const std::string& library) {
  const char* text = dlerror();
  const std::string why = text ? text : "";
  if (why.empty() || why.find("No such file") != std::string::npos)
    return "no NVIDIA driver (" + library + " not found)";
  return "no usable NVIDIA driver (" + why + ")";
}

std::string VersionText(const Driver& driver) {
  int version = 0;  // 12040 is 12.4
  if (driver.DriverGetVersion(&version) != kSuccess || version <= 0) return "of unknown version";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::optional<GpuInfo> Describe(const Driver& driver, int ordinal) {
  int device = 0;
  if (driver.DeviceGet(&device, ordinal) != kSuccess) return std::nullopt;
  bool ok = true;
  const auto attribute = [&](Attribute which) {
    int value = 0;
    ok = driver.DeviceGetAttribute(&value, which, device) == kSuccess && value >= 0 && ok;
    return value;
  };
  std::array<char, 256> name{};
  ok = driver.DeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device) == kSuccess;
  GpuInfo gpu;
  gpu.name = name.data();
  gpu.compute_major = attribute(kComputeCapabilityMajor);
  gpu.compute_minor = attribute(kComputeCapabilityMinor);
  gpu.multiprocessors = static_cast<size_t>(attribute(kMultiprocessorCount));
  gpu.shared_bytes_per_block = static_cast<size_t>(attribute(kMaxSharedMemoryPerBlock));
  ok = driver.DeviceTotalMem(&gpu.memory_total_bytes, device) == kSuccess && ok;
  if (!ok) return std::nullopt;
  return gpu;
}

// Starts the driver and counts its devices; returns why there are none, or an empty text.
std::string CountDevices(const Driver& driver, int& count) {
  int error = driver.Init(0);
  if (error == kSuccess) error = driver.DeviceGetCount(&count);
  if (error == kErrorNoDevice || (error == kSuccess && count <= 0)) return "driver present, no device";
  if (error != kSuccess)
    return "driver present, but it does not start (CUDA error " + std::to_string(error) + ")";
  count = std::min(count, kMaxDevices);
  return {};
}

}  // namespace

GpuList ListGpus() { return ListGpus("libcuda.so.1"); }

GpuList ListGpus(const std::string& driver_library) {
  // Never closed: the driver starts threads of its own, which an unload would pull the code from under.
  void* library = dlopen(driver_library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return {{}, LoadFailure(driver_library)};
  Driver driver;
  if (const char* missing = driver.Bind(library))
    return {{}, std::string("NVIDIA driver too old (has no ") + missing + "), update it"};
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
