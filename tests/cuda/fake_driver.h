// SPDX-License-Identifier: Apache-2.0
// The stand-in for NVIDIA's driver library, and what it is told through the environment.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <string>

namespace qwen3vl::test {

// What the stand-in driver reads; restored to a healthy GTX 1050 at the end.
class FakeCuda {
 public:
  explicit FakeCuda(const char* device = "one") { Set(device); }
  ~FakeCuda() { Set("one"); }
  void Device(const char* name) { setenv("FAKE_CUDA", name, 1); }
  void Fault(const char* name) { setenv("FAKE_CUDA_FAULT", name, 1); }
  void Order(const char* name) { setenv("FAKE_CUDA_ORDER", name, 1); }
  void ExecutePtx(bool yes) { setenv("FAKE_CUDA_EXECUTE", yes ? "ptx" : "", 1); }
  // Faster than any processor, with zeros for results.
  void ExecuteNothing() { setenv("FAKE_CUDA_EXECUTE", "nothing", 1); }
  void FreeMebibytes(const char* n) { setenv("FAKE_CUDA_FREE_MIB", n, 1); }
  void TakenMebibytes(const char* n) { setenv("FAKE_CUDA_TAKEN_MIB", n, 1); }

 private:
  void Set(const char* device) {
    Device(device);
    Fault("");
    Order("");
    ExecutePtx(false);
    FreeMebibytes("");
    TakenMebibytes("");
  }
};

// Whether tests run on the stand-in, and not on the library that QWEN3VL_FAKE_CUDA in the environment names:
// another build of the stand-in, or NVIDIA's driver (tools/gpu_check.sh).
inline bool OnStandIn() { return !std::getenv("QWEN3VL_FAKE_CUDA"); }

inline std::string FakeDriver() { return OnStandIn() ? QWEN3VL_FAKE_CUDA : std::getenv("QWEN3VL_FAKE_CUDA"); }

// A function of the stand-in: "FakeCudaLaunches", or one of the driver's that only apps call.
template <class Function>
Function* FakeFunction(const char* name) {
  return reinterpret_cast<Function*>(dlsym(dlopen(QWEN3VL_FAKE_CUDA, RTLD_NOW), name));
}

}  // namespace qwen3vl::test
