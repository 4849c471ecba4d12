// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "attention/cuda/attention_cuda.h"
namespace qwen3vl::attention {
inline PathOutcome AttendTiled(const Inputs&, const Outputs&, const Options&, Workspace&, size_t*) {
  return {FallbackCause::kUnsupported, "tiled: not in this build"};
}
}  // namespace qwen3vl::attention
