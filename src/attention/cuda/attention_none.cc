// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/attention_cuda.h"
#include "attention/fault.h"

namespace qwen3vl::attention {

bool CudaAvailable() { return false; }

PathOutcome AttendCuda(const Inputs&, const Outputs&, const Options&) {
  if (FaultAsked(Fault::kDevice))
    return {FallbackCause::kDevice, "cuda: no device (asked for by QWEN3VL_FAULT)"};
  if (FaultAsked(Fault::kLaunch))
    return {FallbackCause::kDevice, "cuda: kernel launch failed (asked for by QWEN3VL_FAULT)"};
  return {FallbackCause::kDevice, "cuda: this build has no CUDA path"};
}

}  // namespace qwen3vl::attention
