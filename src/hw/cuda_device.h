// SPDX-License-Identifier: Apache-2.0
// One NVIDIA GPU to compute on, through the driver API: its memory, modules and launches. Every function
// throws Error(kOutOfMemory) where the device has no memory left, and Error(kDevice) naming the driver's
// function and error for everything else. Any thread may call, one at a time; what was current on it for the
// driver, an app's own context perhaps, is so again when the call returns.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "hw/cuda_driver.h"
#include "hw/gpu_info.h"

namespace qwen3vl::hw {

// The device's context with the driver's functions; shared by everything that lives on the device.
class CudaContext {
 public:
  CudaContext(const CudaDriver& driver, int ordinal);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  // What `call`, a function of the driver's functions, returns, with the context current for it. The driver's
  // errors do not throw here: destructors call, too.
  template <class Call>
  int Do(const Call& call) const {
    int error = driver_.CtxPushCurrent(context_);
    if (error != kCudaSuccess) return error;
    error = call(driver_);
    CudaHandle ours = nullptr;
    driver_.CtxPopCurrent(&ours);
    return error;
  }
  // Until all that was started has ended; returns its error. By an event, since how a context waits is for
  // the app to choose that shares it.
  int Wait() const;
  // Throws unless `error` is success; `what` is what failed: "cuMemAlloc of 12 bytes".
  void Check(int error, const std::string& what) const;

 private:
  CudaDriver driver_;
  int device_ = 0;
  CudaHandle context_ = nullptr;
};

// Memory on the device.
class CudaBuffer {
 public:
  CudaBuffer() = default;
  CudaBuffer(std::shared_ptr<const CudaContext> context, size_t bytes);
  ~CudaBuffer();
  CudaBuffer(CudaBuffer&& other) noexcept;
  CudaBuffer& operator=(CudaBuffer&& other) noexcept;

  size_t bytes() const { return bytes_; }
  CudaAddress address() const { return address_; }
  void Clear() const;  // to zeros
  void Upload(size_t offset, const void* from, size_t bytes) const;
  void Download(void* to, size_t offset, size_t bytes) const;

 private:
  std::shared_ptr<const CudaContext> context_;
  CudaAddress address_ = 0;
  size_t bytes_ = 0;
};

// Device code that the driver has compiled for the device.
class CudaModule {
 public:
  // `ptx` is PTX text; what the driver's compiler says stands in the error.
  CudaModule(std::shared_ptr<const CudaContext> context, const char* ptx);
  ~CudaModule();
  CudaModule(const CudaModule&) = delete;
  CudaModule& operator=(const CudaModule&) = delete;

  // The entry point of that name, or null where the module has none.
  CudaHandle Find(const std::string& name) const;

 private:
  std::shared_ptr<const CudaContext> context_;
  CudaHandle module_ = nullptr;
};

struct CudaGrid {
  unsigned x = 1, y = 1, z = 1;
};

class CudaDevice {
 public:
  // The first device of compute capability 6.1 or better that the driver lists.
  explicit CudaDevice(const std::string& driver_library);

  const GpuInfo& info() const { return info_; }
  size_t FreeBytes() const;  // of its memory, now
  const std::shared_ptr<const CudaContext>& context() const { return context_; }
  // The module of that name, compiled from the text that `ptx` makes when it is first asked for, and kept as
  // long as the device.
  std::shared_ptr<const CudaModule> Module(const std::string& name,
                                           const std::function<std::string()>& ptx) const;
  // Starts `function` with one struct as its parameter, after all that was started before.
  void Start(CudaHandle function, CudaGrid grid, unsigned threads, const void* parameters,
             const std::string& name) const;
  // Waits for all that was started; `what` was it, for the error: "attention".
  void Wait(const std::string& what) const;

 private:
  GpuInfo info_;
  std::shared_ptr<const CudaContext> context_;
  mutable std::mutex mutex_;  // of modules_
  mutable std::map<std::string, std::shared_ptr<const CudaModule>> modules_;
};

}  // namespace qwen3vl::hw
