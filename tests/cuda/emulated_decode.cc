// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/decode.cuh"
#include "cuda/emulated_modules.h"

namespace qwen3vl::gpu {
namespace {

template <int kDim, KvFormat kFormat, ScoreType kScores>
void Add(std::vector<EmulatedKernel>& kernels) {
  kernels.push_back(
      MakeKernel("decode", kDim, kFormat, kScores, "", kDecodeThreads, &Decode<kDim, kFormat, kScores>));
  kernels.push_back(MakeKernel("merge", kDim, kFormat, kScores, "", kMergeThreads, &Merge<kDim>));
}

}  // namespace

void AddDecode(std::vector<EmulatedKernel>& kernels) {
  ForEachModule([&]<int kDim, KvFormat kFormat>() {
    Add<kDim, kFormat, ScoreType::kF32>(kernels);
    Add<kDim, kFormat, ScoreType::kInt8>(kernels);
  });
}

}  // namespace qwen3vl::gpu
