// SPDX-License-Identifier: Apache-2.0
// Lists NVIDIA GPUs through the driver library, opened at run time: the program starts and runs without one.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace qwen3vl::hw {

struct GpuInfo {
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  size_t multiprocessors = 0;
  size_t shared_bytes_per_block = 0;
  size_t memory_total_bytes = 0;
  size_t memory_free_bytes = 0;  // 0: not asked for
  int ordinal = 0;               // its place in the driver's list
  bool drives_display = false;   // as far as it shows: kernels have a time limit, for the display's sake
};

struct GpuList {
  std::vector<GpuInfo> devices;
  std::string status;  // "no NVIDIA driver (libcuda.so.1 not found)", "driver present, no device",
                       // "driver 12.4, 1 device"
};

// Never fails: what went wrong is in `status`.
GpuList ListGpus();
// As above, with the driver library of that file name or path.
GpuList ListGpus(const std::string& driver_library);

}  // namespace qwen3vl::hw
