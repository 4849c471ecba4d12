// SPDX-License-Identifier: Apache-2.0
#include "cuda/emulated_kernels.h"

#include "attention/cuda/decode.cuh"
#include "attention/cuda/prefill.cuh"

namespace qwen3vl::gpu {
namespace {

constexpr const char* kFormatNames[] = {"F32", "F16", "Q8_0"};  // by value of KvFormat

template <int kDim, KvFormat kFormat>
void Add(std::vector<EmulatedKernel>& kernels) {
  const std::string module = std::to_string(kDim) + "_" + kFormatNames[static_cast<unsigned>(kFormat)];
  const auto add = [&](const std::string& name, unsigned threads, void (*run)(const AttentionParams&)) {
    kernels.push_back({name, "attention_" + module, kDim, kFormat, threads, run});
  };
  add("attention_prefill_" + module + "_tile128", 128, &Prefill<kDim, 128, kFormat>);
  add("attention_prefill_" + module + "_tile256", 256, &Prefill<kDim, 256, kFormat>);
  add("attention_decode_" + module, kDecodeThreads, &Decode<kDim, kFormat>);
  add("attention_merge_" + module, kMergeThreads, &Merge<kDim>);
}

std::vector<EmulatedKernel> MakeKernels() {
  std::vector<EmulatedKernel> kernels;
  Add<64, KvFormat::kF32>(kernels);
  Add<64, KvFormat::kF16>(kernels);
  Add<64, KvFormat::kQ8_0>(kernels);
  Add<72, KvFormat::kF32>(kernels);
  Add<72, KvFormat::kF16>(kernels);
  Add<80, KvFormat::kF32>(kernels);
  Add<80, KvFormat::kF16>(kernels);
  Add<128, KvFormat::kF32>(kernels);
  Add<128, KvFormat::kF16>(kernels);
  Add<128, KvFormat::kQ8_0>(kernels);
  return kernels;
}

}  // namespace

const std::vector<EmulatedKernel>& EmulatedKernels() {
  static const std::vector<EmulatedKernel> kernels = MakeKernels();
  return kernels;
}

}  // namespace qwen3vl::gpu
