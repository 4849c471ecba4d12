// SPDX-License-Identifier: Apache-2.0
// The functions of the CUDA driver API that this engine calls, found in the driver library at run time by
// their documented signatures, so that neither building nor starting needs anything of NVIDIA's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace qwen3vl::hw {

inline constexpr char kCudaDriverLibrary[] = "libcuda.so.1";
inline constexpr int kCudaSuccess = 0;
inline constexpr int kCudaOutOfMemory = 2;
inline constexpr int kCudaNoDevice = 100;

using CudaHandle = void*;      // of a context, module, function or stream
using CudaAddress = uint64_t;  // in device memory

struct CudaDriver {
  // To list devices.
  int (*Init)(unsigned flags) = nullptr;
  int (*DriverGetVersion)(int* version) = nullptr;
  int (*DeviceGetCount)(int* count) = nullptr;
  int (*DeviceGet)(int* device, int ordinal) = nullptr;
  int (*DeviceGetName)(char* name, int size, int device) = nullptr;
  int (*DeviceGetAttribute)(int* value, int attribute, int device) = nullptr;
  int (*DeviceTotalMem)(size_t* bytes, int device) = nullptr;
  // To compute.
  int (*DevicePrimaryCtxRetain)(CudaHandle* context, int device) = nullptr;
  int (*DevicePrimaryCtxRelease)(int device) = nullptr;
  int (*CtxPushCurrent)(CudaHandle context) = nullptr;
  int (*CtxPopCurrent)(CudaHandle* context) = nullptr;
  int (*EventCreate)(CudaHandle* event, unsigned flags) = nullptr;
  int (*EventRecord)(CudaHandle event, CudaHandle stream) = nullptr;
  int (*EventSynchronize)(CudaHandle event) = nullptr;
  int (*EventDestroy)(CudaHandle event) = nullptr;
  int (*ModuleLoadDataEx)(CudaHandle* module, const void* image, unsigned n_options, int* options,
                          void** values) = nullptr;
  int (*ModuleUnload)(CudaHandle module) = nullptr;
  int (*ModuleGetFunction)(CudaHandle* function, CudaHandle module, const char* name) = nullptr;
  int (*MemAlloc)(CudaAddress* address, size_t bytes) = nullptr;
  int (*MemFree)(CudaAddress address) = nullptr;
  int (*MemGetInfo)(size_t* free_bytes, size_t* total_bytes) = nullptr;
  int (*MemsetD8)(CudaAddress to, unsigned char value, size_t bytes) = nullptr;
  int (*MemcpyHtoD)(CudaAddress to, const void* from, size_t bytes) = nullptr;
  int (*MemcpyDtoH)(void* to, CudaAddress from, size_t bytes) = nullptr;
  int (*LaunchKernel)(CudaHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                      CudaHandle stream, void** parameters, void** extra) = nullptr;
  int (*GetErrorName)(int error, const char** name) = nullptr;
  // May be null: computing goes without.
  int (*FuncGetAttribute)(int* value, int attribute, CudaHandle function) = nullptr;

  const char* missing_to_list = nullptr;  // the first function of each group that this driver lacks
  const char* missing_to_compute = nullptr;
};

// Opens the library, for good. Throws Error(kDevice) saying why it cannot: "no NVIDIA driver (NAME not
// found)".
CudaDriver LoadCudaDriver(const std::string& library);

// "NVIDIA driver too old (has no cuMemAlloc_v2), update it"
std::string TooOld(const char* missing);

}  // namespace qwen3vl::hw
