// SPDX-License-Identifier: Apache-2.0
#include "cuda/emulated_kernels.h"

#include "cuda/emulated_modules.h"

namespace qwen3vl::gpu {

const std::vector<EmulatedKernel>& EmulatedKernels() {
  static const std::vector<EmulatedKernel> kernels = [] {
    std::vector<EmulatedKernel> all;
    AddPrefill<ScoreType::kF32>(all);
    AddPrefill<ScoreType::kInt8>(all);
    AddDecode(all);
    AddLayerKernels(all);
    AddExpertKernels(all);
    return all;
  }();
  return kernels;
}

}  // namespace qwen3vl::gpu
