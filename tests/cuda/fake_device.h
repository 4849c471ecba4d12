// SPDX-License-Identifier: Apache-2.0
// The attention of a stand-in GPU, and its results beside the reference.
#pragma once

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "attention/cuda/cuda_attention.h"
#include "cuda/stand_in_code.h"
#include "support/attention_cases.h"

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

 private:
  void Set(const char* device) {
    Device(device);
    Fault("");
    Order("");
    ExecutePtx(false);
  }
};

// The stand-in driver library; QWEN3VL_FAKE_CUDA in the environment names another.
inline std::string FakeDriver() {
  const char* other = std::getenv("QWEN3VL_FAKE_CUDA");
  return other ? other : QWEN3VL_FAKE_CUDA;
}

struct CudaResult {
  std::vector<float> out, lse;
  attention::PathOutcome outcome;
  size_t tile = 0;
};

inline CudaResult RunOnCuda(attention::CudaAttention& device, const attention::Inputs& in,
                            const attention::Options& options = {}) {
  const attention::Shape& s = in.shape;
  CudaResult r;
  r.out.assign(s.batch * s.q_len * s.n_heads * s.head_dim, NAN);
  r.lse.assign(s.batch * s.n_heads * s.q_len, NAN);
  attention::Outputs out;
  out.out = r.out.data();
  out.lse = r.lse.data();
  r.outcome = device.Attend(in, out, options, &r.tile);
  return r;
}

}  // namespace qwen3vl::test
