// SPDX-License-Identifier: Apache-2.0
// One NVIDIA GPU to compute on, through the driver API: its memory, modules and launches. Every function
// throws Error(kOutOfMemory) where the device has no memory left, and Error(kDevice) naming the driver's
// function and error for everything else.
#pragma once

#include <memory>
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

  const CudaDriver& driver() const { return driver_; }
  // Throws unless `error` is success; `what` is what failed: "cuMemAlloc of 12 bytes".
  void Check(int error, const std::string& what) const;
  // Before the first call on another thread than the last one's.
  void MakeCurrent() const;

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
  CudaModule() = default;
  // `ptx` is PTX text; what the driver's compiler says stands in the error.
  CudaModule(std::shared_ptr<const CudaContext> context, const char* ptx);
  ~CudaModule();
  CudaModule(CudaModule&& other) noexcept;
  CudaModule& operator=(CudaModule&& other) noexcept;

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
  // Starts `function` with one struct as its parameter, after all that was started before.
  void Start(CudaHandle function, CudaGrid grid, unsigned threads, const void* parameters,
             const std::string& name) const;
  // Waits for all that was started; `what` was it, for the error: "attention".
  void Wait(const std::string& what) const;

 private:
  GpuInfo info_;
  std::shared_ptr<const CudaContext> context_;
};

}  // namespace qwen3vl::hw
