// SPDX-License-Identifier: Apache-2.0
#include "cuda/emulated_prefill.h"

namespace qwen3vl::gpu {

template void AddPrefill<ScoreType::kF32>(std::vector<EmulatedKernel>&);

}  // namespace qwen3vl::gpu
