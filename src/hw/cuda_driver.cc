// SPDX-License-Identifier: Apache-2.0
#include "hw/cuda_driver.h"

#include <dlfcn.h>

#include <type_traits>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

std::string LoadFailure(const std::string& library) {
  const char* text = dlerror();
  const std::string why = text ? text : "";
  if (why.empty() || why.find("No such file") != std::string::npos)
    return "no NVIDIA driver (" + library + " not found)";
  return "no usable NVIDIA driver (" + why + ")";
}

}  // namespace

CudaDriver LoadCudaDriver(const std::string& library_name) {
  // Never closed: the driver starts threads of its own, which an unload would pull the code from under.
  void* library = dlopen(library_name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(ErrorCode::kDevice, LoadFailure(library_name));
  CudaDriver d;
  const char** missing = &d.missing_to_list;
  const auto bind = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function && !*missing) *missing = name;
  };
  bind(d.Init, "cuInit");
  bind(d.DriverGetVersion, "cuDriverGetVersion");
  bind(d.DeviceGetCount, "cuDeviceGetCount");
  bind(d.DeviceGet, "cuDeviceGet");
  bind(d.DeviceGetName, "cuDeviceGetName");
  bind(d.DeviceGetAttribute, "cuDeviceGetAttribute");
  bind(d.DeviceTotalMem, "cuDeviceTotalMem_v2");
  missing = &d.missing_to_compute;
  bind(d.DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  bind(d.DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease");
  bind(d.CtxPushCurrent, "cuCtxPushCurrent_v2");
  bind(d.CtxPopCurrent, "cuCtxPopCurrent_v2");
  bind(d.EventCreate, "cuEventCreate");
  bind(d.EventRecord, "cuEventRecord");
  bind(d.EventSynchronize, "cuEventSynchronize");
  bind(d.EventDestroy, "cuEventDestroy_v2");
  bind(d.ModuleLoadDataEx, "cuModuleLoadDataEx");
  bind(d.ModuleUnload, "cuModuleUnload");
  bind(d.ModuleGetFunction, "cuModuleGetFunction");
  bind(d.MemAlloc, "cuMemAlloc_v2");
  bind(d.MemFree, "cuMemFree_v2");
  bind(d.MemGetInfo, "cuMemGetInfo_v2");
  bind(d.MemsetD8, "cuMemsetD8_v2");
  bind(d.MemcpyHtoD, "cuMemcpyHtoD_v2");
  bind(d.MemcpyDtoH, "cuMemcpyDtoH_v2");
  bind(d.LaunchKernel, "cuLaunchKernel");
  bind(d.GetErrorName, "cuGetErrorName");
  const char* not_needed = nullptr;
  missing = &not_needed;
  bind(d.FuncGetAttribute, "cuFuncGetAttribute");
  return d;
}

std::string TooOld(const char* missing) {
  return std::string("NVIDIA driver too old (has no ") + missing + "), update it";
}

}  // namespace qwen3vl::hw
