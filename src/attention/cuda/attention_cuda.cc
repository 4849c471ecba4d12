// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/attention_cuda.h"

#include "attention/cuda/cuda_attention.h"
#include "attention/cuda/device_code.h"

namespace qwen3vl::attention {

PathOutcome AttendCuda(const Inputs& in, const Outputs& out, const Options& options, size_t* tile) {
  // Never destroyed: at the end of the process the driver may be gone before it.
  static CudaAttention& device = *new CudaAttention(hw::kCudaDriverLibrary, EmbeddedDeviceCode());
  return device.Attend(in, out, options, tile);
}

std::string_view DescribeDeviceCode() { return QWEN3VL_DEVICE_TEXT; }

}  // namespace qwen3vl::attention
