// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/attention_cuda.h"

namespace qwen3vl::attention {

PathOutcome AttendCuda(const Inputs&, const Outputs&, const Options&, size_t*) {
  return {FallbackCause::kDevice, "cuda: this build has no CUDA path"};
}

std::string_view DescribeDeviceCode() { return "none (built with QWEN3VL_CUDA=OFF)"; }

}  // namespace qwen3vl::attention
