// SPDX-License-Identifier: Apache-2.0
// Stands in for NVIDIA's driver library in tests. FAKE_CUDA says what it finds: "one" (a GTX 1050), "two"
// (and an RTX 3060), "ampere" (the RTX 3060 alone), "maxwell" (a GTX 960M), "none", "broken" (does not
// start), "silent" (two devices, one does not answer), "display" (a GTX 1050 that drives one). Compiled with
// FAKE_CUDA_OLD it lacks a function, as drivers before CUDA 3.2 do.
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

#define FAKE_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kNotInitialized = 3, kNoDevice = 100, kInvalidDevice = 101, kUnknownError = 999;
bool started = false;

std::string_view Mode() {
  const char* mode = std::getenv("FAKE_CUDA");
  return mode ? mode : "one";
}

struct Device {
  const char* name;
  int major, minor, multiprocessors;
  size_t memory_bytes;
};
constexpr Device kDevices[] = {{"NVIDIA GeForce GTX 1050", 6, 1, 5, size_t{2} << 30},
                               {"NVIDIA GeForce RTX 3060", 8, 6, 28, size_t{12} << 30},
                               {"NVIDIA GeForce GTX 960M", 5, 0, 5, size_t{2} << 30}};

int DeviceCount() { return Mode() == "two" || Mode() == "silent" ? 2 : 1; }
int FirstDevice() { return Mode() == "ampere" ? 1 : Mode() == "maxwell" ? 2 : 0; }

}  // namespace

FAKE_CUDA_EXPORT int cuInit(unsigned) {
  started = Mode() != "none" && Mode() != "broken";
  return started ? 0 : Mode() == "none" ? kNoDevice : kUnknownError;
}

FAKE_CUDA_EXPORT int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}

FAKE_CUDA_EXPORT int cuDeviceGetCount(int* count) {
  if (!started) return kNotInitialized;
  *count = DeviceCount();
  return 0;
}

FAKE_CUDA_EXPORT int cuDeviceGet(int* device, int ordinal) {
  if (Mode() == "silent" && ordinal == 0) return kInvalidDevice;
  if (ordinal < 0 || ordinal >= DeviceCount()) return kInvalidDevice;
  *device = FirstDevice() + ordinal;
  return 0;
}

FAKE_CUDA_EXPORT int cuDeviceGetName(char* name, int size, int device) {
  std::strncpy(name, kDevices[device].name, static_cast<size_t>(size));
  return 0;
}

FAKE_CUDA_EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
  switch (attribute) {
    case 8:
      *value = 48 * 1024;
      return 0;
    case 16:
      *value = kDevices[device].multiprocessors;
      return 0;
    case 17:
      *value = Mode() == "display";
      return 0;
    case 75:
      *value = kDevices[device].major;
      return 0;
    case 76:
      *value = kDevices[device].minor;
      return 0;
    default:
      return 1;
  }
}

#ifndef FAKE_CUDA_OLD
FAKE_CUDA_EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  *bytes = kDevices[device].memory_bytes;
  return 0;
}
#endif
