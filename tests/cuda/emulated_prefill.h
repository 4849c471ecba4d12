// SPDX-License-Identifier: Apache-2.0
// Prefill of one kind of scores for the block emulator. Instantiated in a file for each kind.
#pragma once

#include "attention/cuda/prefill.cuh"
#include "cuda/emulated_modules.h"

namespace qwen3vl::gpu {

template <ScoreType kScores>
void AddPrefill(std::vector<EmulatedKernel>& kernels) {
  ForEachModule([&]<int kDim, KvFormat kFormat>() {
    kernels.push_back(MakeKernel("prefill", kDim, kFormat, kScores, "_tile128", 128,
                                 &Prefill<kDim, 128, kFormat, kScores>));
    kernels.push_back(MakeKernel("prefill", kDim, kFormat, kScores, "_tile256", 256,
                                 &Prefill<kDim, 256, kFormat, kScores>));
  });
}

}  // namespace qwen3vl::gpu
