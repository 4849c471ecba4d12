// SPDX-License-Identifier: Apache-2.0
// The computing half of the stand-in for NVIDIA's driver library (tests/hw/fake_cuda.cc lists devices).
// Device memory is heap memory of exactly the bytes asked for, and a launch runs the kernel of that name on
// the block emulator, provided that the module's text declares it. FAKE_CUDA_FAULT says what fails, a list
// of: "jit" (the driver cannot compile), "jit75" (nor code for compute capability 7.5), "load_memory" (no
// memory for a module), "memory" (none for data), "upload", "download", "launch", "launch_memory" (no
// memory to launch with), "run" (the kernel starts and does not end well). FAKE_CUDA_ORDER ("reverse",
// "shuffled"): in which order the emulated threads run. FAKE_CUDA_EXECUTE=ptx: what runs is the module's
// text, on the PTX interpreter; FAKE_CUDA_EXECUTE=nothing: nothing runs, at once, whatever it
// is, and memory is zeros to begin with. FAKE_CUDA_FREE_MIB: memory that is free before anything is taken, 2
// GiB if not set. FAKE_CUDA_TAKEN_MIB: as much of it is taken by another program after it was asked for.
// Whatever needs a context wants the device's to be current.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/block_emulator.h"
#include "cuda/emulated_kernels.h"
#include "cuda/kernel_arrays.h"
#include "cuda/ptx_interpreter.h"

#define FAKE_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using qwen3vl::gpu::EmulatedKernel;
using qwen3vl::gpu::EmulatedKernels;
using qwen3vl::gpu::MemoryRange;
using qwen3vl::gpu::PtxKernel;

constexpr int kInvalidValue = 1, kOutOfMemory = 2, kInvalidContext = 201, kInvalidPtx = 218,
              kUnsupportedPtx = 222, kNotFound = 500, kIllegalAddress = 700, kLaunchFailed = 719;

constexpr int kJitCacheMode = 14;
constexpr size_t kJitCacheAll = 2;
constexpr unsigned kBlockingSync = 1, kDisableTiming = 2;
constexpr int kLocalBytes = 3, kRegisters = 4;

struct Module {
  std::string ptx;
  std::map<std::string, PtxKernel> kernels;  // parsed, when the text is to be executed
};

struct Function {
  const EmulatedKernel* source;  // null: not one of the library's
  const PtxKernel* ptx;          // null: run the source
};

std::map<uint64_t, size_t> allocations;  // address, bytes
std::string launch_error;                // what the emulator said of a failed launch
bool run_failed = false;
unsigned module_loads = 0, launches = 0, context_holders = 0;
int the_context;
thread_local std::vector<void*> contexts;  // of the thread; the last one is current

std::string_view Setting(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool Fails(std::string_view fault) {
  return ("," + std::string(Setting("FAKE_CUDA_FAULT")) + ",").find("," + std::string(fault) + ",") !=
         std::string::npos;
}

bool IsAllocated(uint64_t address, size_t bytes) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  const auto& [begin, size] = *--next;
  return address - begin <= size && bytes <= size - (address - begin);
}

bool OursIsCurrent() { return !contexts.empty() && contexts.back() == &the_context; }

// 2 GiB, or what FAKE_CUDA_FREE_MIB says, less what was taken here.
size_t FreeBytes() {
  const std::string_view mib = Setting("FAKE_CUDA_FREE_MIB");
  size_t bytes = mib.empty() ? size_t{2} << 30 : std::stoul(std::string(mib)) << 20;
  for (const auto& [address, taken] : allocations) bytes -= std::min(bytes, taken);
  return bytes;
}

qwen3vl::gpu::ThreadOrder Order() {
  using qwen3vl::gpu::ThreadOrder;
  const std::string_view order = Setting("FAKE_CUDA_ORDER");
  return order == "reverse"    ? ThreadOrder::kReverse
         : order == "shuffled" ? ThreadOrder::kShuffled
                               : ThreadOrder::kForward;
}

}  // namespace

// How often it did that so far.
FAKE_CUDA_EXPORT unsigned FakeCudaModuleLoads() { return module_loads; }
FAKE_CUDA_EXPORT unsigned FakeCudaLaunches() { return launches; }

// How often the context is held.
FAKE_CUDA_EXPORT unsigned FakeCudaContexts() { return context_holders; }

FAKE_CUDA_EXPORT int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &the_context;
  ++context_holders;
  return 0;
}
FAKE_CUDA_EXPORT int cuDevicePrimaryCtxRelease(int) {
  --context_holders;
  return 0;
}
FAKE_CUDA_EXPORT int cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(context);
  return 0;
}
FAKE_CUDA_EXPORT int cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return 0;
}
FAKE_CUDA_EXPORT int cuCtxGetCurrent(void** context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return 0;
}

// An event here is the number of launches before it.
FAKE_CUDA_EXPORT int cuEventCreate(void** event, unsigned flags) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (flags != (kBlockingSync | kDisableTiming)) return kInvalidValue;
  *event = new unsigned(0);
  return 0;
}
FAKE_CUDA_EXPORT int cuEventRecord(void* event, void* stream) {
  if (!OursIsCurrent()) return kInvalidContext;
  *static_cast<unsigned*>(event) = launches;
  return stream ? kInvalidValue : 0;
}
FAKE_CUDA_EXPORT int cuEventSynchronize(void* event) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (*static_cast<unsigned*>(event) != launches) return kInvalidValue;
  return run_failed ? kIllegalAddress : 0;
}
FAKE_CUDA_EXPORT int cuEventDestroy_v2(void* event) {
  delete static_cast<unsigned*>(event);
  return OursIsCurrent() ? 0 : kInvalidContext;
}

FAKE_CUDA_EXPORT int cuFuncGetAttribute(int* value, int attribute, void*) {
  if (attribute != kLocalBytes && attribute != kRegisters) return kInvalidValue;
  *value = attribute == kRegisters ? 32 : 0;
  return OursIsCurrent() ? 0 : kInvalidContext;
}

FAKE_CUDA_EXPORT int cuModuleLoadDataEx(void** module, const void* image, unsigned n_options, int* options,
                                        void** values) {
  const std::string_view ptx = static_cast<const char*>(image);
  if (!OursIsCurrent()) return kInvalidContext;
  bool loads_cached = false;
  for (unsigned i = 0; i < n_options; ++i)
    loads_cached =
        loads_cached || (options[i] == kJitCacheMode && reinterpret_cast<size_t>(values[i]) == kJitCacheAll);
  if (!loads_cached) return kInvalidValue;
  if (Fails("load_memory")) return kOutOfMemory;
  const bool refuses_75 = Fails("jit75") && ptx.find(".target sm_75") != std::string_view::npos;
  if (!Fails("jit") && !refuses_75) {
    auto loaded = std::make_unique<Module>(Module{std::string(ptx), {}});
    try {
      if (Setting("FAKE_CUDA_EXECUTE") == "ptx") loaded->kernels = qwen3vl::gpu::ParsePtx(ptx);
    } catch (const std::exception& e) {
      launch_error = e.what();
      return kInvalidPtx;
    }
    *module = loaded.release();
    ++module_loads;
    return 0;
  }
  for (unsigned i = 0; i < n_options; ++i)
    if (options[i] == 5) std::strcpy(static_cast<char*>(values[i]), "ptxas fatal : stand-in\nrefuses\n");
  return refuses_75 ? kUnsupportedPtx : kInvalidPtx;
}

FAKE_CUDA_EXPORT int cuModuleUnload(void* module) {
  if (!OursIsCurrent()) return kInvalidContext;
  delete static_cast<Module*>(module);
  return 0;
}

FAKE_CUDA_EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
  const Module& loaded = *static_cast<Module*>(module);
  if (loaded.ptx.find(".entry " + std::string(name) + "(") == std::string::npos) return kNotFound;
  for (const EmulatedKernel& kernel : EmulatedKernels())
    if (kernel.name == name) {
      const auto text = loaded.kernels.find(name);
      static std::deque<Function> functions;
      functions.push_back({&kernel, text == loaded.kernels.end() ? nullptr : &text->second});
      *function = &functions.back();
      return 0;
    }
  if (Setting("FAKE_CUDA_EXECUTE") != "nothing") return kNotFound;
  static Function unknown{nullptr, nullptr};
  *function = &unknown;
  return 0;
}

FAKE_CUDA_EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  if (bytes == 0) return kInvalidValue;
  if (!OursIsCurrent()) return kInvalidContext;
  const std::string_view taken = Setting("FAKE_CUDA_TAKEN_MIB");
  const size_t others = taken.empty() ? 0 : std::stoul(std::string(taken)) << 20;
  if (Fails("memory") || bytes + others > FreeBytes()) return kOutOfMemory;
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes) != 0) return kOutOfMemory;
  std::memset(memory, Setting("FAKE_CUDA_EXECUTE") == "nothing" ? 0 : 0xff, bytes);
  *address = reinterpret_cast<uint64_t>(memory);
  allocations[*address] = bytes;
  return 0;
}

FAKE_CUDA_EXPORT int cuMemFree_v2(uint64_t address) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (allocations.erase(address) == 0) return kInvalidValue;
  std::free(reinterpret_cast<void*>(address));
  return 0;
}

FAKE_CUDA_EXPORT int cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
  if (!OursIsCurrent()) return kInvalidContext;
  *total_bytes = size_t{2} << 30;
  *free_bytes = Fails("memory") && Setting("FAKE_CUDA_FREE_MIB").empty() ? 4096 : FreeBytes();
  return 0;
}

FAKE_CUDA_EXPORT int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (!IsAllocated(to, bytes)) return kInvalidValue;
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return 0;
}

FAKE_CUDA_EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (!IsAllocated(to, bytes)) return kInvalidValue;
  if (Fails("upload")) return kIllegalAddress;
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return 0;
}

FAKE_CUDA_EXPORT int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  if (!OursIsCurrent()) return kInvalidContext;
  if (!IsAllocated(from, bytes)) return kInvalidValue;
  if (Fails("download")) return kIllegalAddress;
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return 0;
}

FAKE_CUDA_EXPORT int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                    unsigned block_x, unsigned block_y, unsigned block_z,
                                    unsigned shared_bytes, void*, void** parameters, void**) {
  const EmulatedKernel* source = static_cast<const Function*>(function)->source;
  const PtxKernel* ptx = static_cast<const Function*>(function)->ptx;
  const bool fits = grid_x >= 1 && grid_y >= 1 && grid_z >= 1 && grid_x <= 0x7fffffffu && grid_y <= 65535 &&
                    grid_z <= 65535 && (!source || block_x == source->threads) && block_y == 1 &&
                    block_z == 1 && shared_bytes == 0;
  if (!OursIsCurrent()) return kInvalidContext;
  if (!fits) return kInvalidValue;
  if (Fails("launch")) return kLaunchFailed;
  if (Fails("launch_memory")) return kOutOfMemory;
  run_failed = Fails("run");
  ++launches;
  if (run_failed || Setting("FAKE_CUDA_EXECUTE") == "nothing") return 0;
  const qwen3vl::gpu::Grid grid{grid_x, grid_y, grid_z};
  const qwen3vl::gpu::KernelArrays arrays(parameters[0], *source, grid);
  const std::vector<MemoryRange> ranges = arrays.Ranges();
  const auto run = [&] {
    if (ptx)
      qwen3vl::gpu::RunPtx(*ptx, arrays.parameters(), ranges);
    else
      source->run(arrays.parameters().data());
  };
  try {
    qwen3vl::gpu::Launch(grid, block_x, run, Order());
    arrays.CopyBack();
  } catch (const std::exception& e) {
    launch_error = e.what();
    return kLaunchFailed;
  }
  return 0;
}

FAKE_CUDA_EXPORT int cuGetErrorName(int error, const char** name) {
  *name = !launch_error.empty()    ? launch_error.c_str()
          : error == kOutOfMemory  ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
          : error == kInvalidPtx   ? "CUDA_ERROR_INVALID_PTX"
                                   : "CUDA_ERROR_STAND_IN";
  return 0;
}
