// SPDX-License-Identifier: Apache-2.0
#include "hw/cuda_device.h"

#include <algorithm>
#include <array>
#include <utility>

#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

// Options of cuModuleLoadDataEx.
enum JitOption { kErrorLogBuffer = 5, kErrorLogBufferBytes = 6, kCacheMode = 14 };
// Loads go through the first cache: compute capability 6.1 leaves it out unless asked, and neighbouring lanes
// read the same lines one after the other. No kernel reads what another block of its launch writes, for which
// this cache would be wrong.
constexpr size_t kCacheAll = 2;

// Of an event: a thread that waits for it sleeps, and leaves its core to others; it takes no time stamp.
constexpr unsigned kBlockingSync = 1, kDisableTiming = 2;

void* JitValue(size_t number) { return reinterpret_cast<void*>(number); }

std::string OnOneLine(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

bool CanCompute(const GpuInfo& gpu) {
  return gpu.compute_major > 6 || (gpu.compute_major == 6 && gpu.compute_minor >= 1);
}

GpuInfo ChooseDevice(const GpuList& list) {
  if (list.devices.empty()) throw Error(ErrorCode::kDevice, list.status);
  const auto usable = std::ranges::find_if(list.devices, CanCompute);
  if (usable != list.devices.end()) return *usable;
  const GpuInfo& first = list.devices.front();
  throw Error(ErrorCode::kDevice, first.name + " has compute capability " +
                                      std::to_string(first.compute_major) + "." +
                                      std::to_string(first.compute_minor) + ", want 6.1 or higher");
}

}  // namespace

CudaContext::CudaContext(const CudaDriver& driver, int ordinal) : driver_(driver) {
  if (driver_.missing_to_compute) throw Error(ErrorCode::kDevice, TooOld(driver_.missing_to_compute));
  Check(driver_.DeviceGet(&device_, ordinal), "cuDeviceGet");
  Check(driver_.DevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
}

CudaContext::~CudaContext() { driver_.DevicePrimaryCtxRelease(device_); }

void CudaContext::Check(int error, const std::string& what) const {
  if (error == kCudaSuccess) return;
  const char* name = nullptr;
  driver_.GetErrorName(error, &name);
  throw Error(error == kCudaOutOfMemory ? ErrorCode::kOutOfMemory : ErrorCode::kDevice,
              what + ": CUDA error " + std::to_string(error) + (name ? std::string(" (") + name + ")" : ""));
}

int CudaContext::Wait() const {
  return Do([](const CudaDriver& d) {
    CudaHandle all = nullptr;
    int error = d.EventCreate(&all, kBlockingSync | kDisableTiming);
    if (error != kCudaSuccess) return error;
    error = d.EventRecord(all, nullptr);
    if (error == kCudaSuccess) error = d.EventSynchronize(all);
    d.EventDestroy(all);
    return error;
  });
}

CudaBuffer::CudaBuffer(std::shared_ptr<const CudaContext> context, size_t bytes)
    : context_(std::move(context)) {
  if (bytes == 0) return;
  const int error = context_->Do([&](const CudaDriver& d) { return d.MemAlloc(&address_, bytes); });
  std::string what = "cuMemAlloc of " + std::to_string(bytes) + " bytes";
  size_t free_bytes = 0, total_bytes = 0;
  const auto ask = [&](const CudaDriver& d) { return d.MemGetInfo(&free_bytes, &total_bytes); };
  if (error == kCudaOutOfMemory && context_->Do(ask) == kCudaSuccess)
    what += " (" + std::to_string(free_bytes) + " free)";
  context_->Check(error, what);
  bytes_ = bytes;
}

CudaBuffer::~CudaBuffer() {
  if (bytes_) context_->Do([&](const CudaDriver& d) { return d.MemFree(address_); });
}

CudaBuffer::CudaBuffer(CudaBuffer&& other) noexcept
    : context_(std::move(other.context_)),
      address_(std::exchange(other.address_, 0)),
      bytes_(std::exchange(other.bytes_, 0)) {}

CudaBuffer& CudaBuffer::operator=(CudaBuffer&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void CudaBuffer::Clear() const {
  if (bytes_ == 0) return;
  context_->Check(context_->Do([&](const CudaDriver& d) { return d.MemsetD8(address_, 0, bytes_); }),
                  "cuMemsetD8 of " + std::to_string(bytes_) + " bytes");
}

void CudaBuffer::Upload(size_t offset, const void* from, size_t bytes) const {
  if (bytes == 0) return;
  context_->Check(
      context_->Do([&](const CudaDriver& d) { return d.MemcpyHtoD(address_ + offset, from, bytes); }),
      "cuMemcpyHtoD of " + std::to_string(bytes) + " bytes");
}

void CudaBuffer::Download(void* to, size_t offset, size_t bytes) const {
  if (bytes == 0) return;
  context_->Check(
      context_->Do([&](const CudaDriver& d) { return d.MemcpyDtoH(to, address_ + offset, bytes); }),
      "cuMemcpyDtoH of " + std::to_string(bytes) + " bytes");
}

CudaModule::CudaModule(std::shared_ptr<const CudaContext> context, const char* ptx)
    : context_(std::move(context)) {
  std::array<char, 1024> log{};
  std::array<int, 3> options = {kErrorLogBuffer, kErrorLogBufferBytes, kCacheMode};
  std::array<void*, 3> values = {log.data(), JitValue(log.size() - 1), JitValue(kCacheAll)};
  const int error = context_->Do([&](const CudaDriver& d) {
    return d.ModuleLoadDataEx(&module_, ptx, options.size(), options.data(), values.data());
  });
  const std::string said = OnOneLine(log.data());
  context_->Check(error, "cuModuleLoadDataEx" + (said.empty() ? "" : " [" + said + "]"));
}

CudaModule::~CudaModule() {
  context_->Do([&](const CudaDriver& d) { return d.ModuleUnload(module_); });
}

CudaHandle CudaModule::Find(const std::string& name) const {
  CudaHandle function = nullptr;
  const auto find = [&](const CudaDriver& d) {
    return d.ModuleGetFunction(&function, module_, name.c_str());
  };
  return context_->Do(find) == kCudaSuccess ? function : nullptr;
}

CudaDevice::CudaDevice(const std::string& driver_library) : info_(ChooseDevice(ListGpus(driver_library))) {
  context_ = std::make_shared<const CudaContext>(LoadCudaDriver(driver_library), info_.ordinal);
}

size_t CudaDevice::FreeBytes() const {
  size_t free_bytes = 0, total_bytes = 0;
  context_->Check(context_->Do([&](const CudaDriver& d) { return d.MemGetInfo(&free_bytes, &total_bytes); }),
                  "cuMemGetInfo");
  return free_bytes;
}

std::shared_ptr<const CudaModule> CudaDevice::Module(const std::string& name,
                                                     const std::function<std::string()>& ptx) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const CudaModule>& module = modules_[name];
  if (!module) module = std::make_shared<const CudaModule>(context_, ptx().c_str());
  return module;
}

void CudaDevice::Start(CudaHandle function, CudaGrid grid, unsigned threads, const void* parameters,
                       const std::string& name) const {
  void* pointers[] = {const_cast<void*>(parameters)};
  context_->Check(context_->Do([&](const CudaDriver& d) {
    return d.LaunchKernel(function, grid.x, grid.y, grid.z, threads, 1, 1, 0, nullptr, pointers, nullptr);
  }),
                  "launch of " + name);
}

void CudaDevice::Wait(const std::string& what) const { context_->Check(context_->Wait(), "run of " + what); }

}  // namespace qwen3vl::hw
