// SPDX-License-Identifier: Apache-2.0
// The attention of a stand-in GPU, and its results beside the reference.
#pragma once

#include <cmath>
#include <vector>

#include "attention/cuda/cuda_attention.h"
#include "cuda/fake_driver.h"
#include "cuda/stand_in_code.h"
#include "support/attention_cases.h"

namespace qwen3vl::test {

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
