// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/prefill.cuh"
#include "cuda/emulated_modules.h"

namespace qwen3vl::gpu {

void AddPrefillInt8(std::vector<EmulatedKernel>& kernels) {
  constexpr ScoreType kScores = ScoreType::kInt8;
  ForEachModule([&]<int kDim, KvFormat kFormat>() {
    kernels.push_back(MakeKernel("prefill", kDim, kFormat, kScores, "_tile128", 128,
                                 &Prefill<kDim, 128, kFormat, kScores>));
    kernels.push_back(MakeKernel("prefill", kDim, kFormat, kScores, "_tile256", 256,
                                 &Prefill<kDim, 256, kFormat, kScores>));
  });
}

}  // namespace qwen3vl::gpu
