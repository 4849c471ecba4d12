// SPDX-License-Identifier: Apache-2.0
// The list of modules that the emulated kernels are made for, and what each file of kernels adds to it. One
// file for each kind of kernel, so that a change of one kind compiles only that.
#pragma once

#include <string>
#include <vector>

#include "cuda/emulated_kernels.h"

namespace qwen3vl::gpu {

void AddPrefillF32(std::vector<EmulatedKernel>& kernels);
void AddPrefillInt8(std::vector<EmulatedKernel>& kernels);
void AddDecode(std::vector<EmulatedKernel>& kernels);  // with Merge, for both kinds of scores

// Calls add.operator()<kDim, kFormat>() for each.
template <class F>
void ForEachModule(const F& add) {
  add.template operator()<64, KvFormat::kF32>();
  add.template operator()<64, KvFormat::kF16>();
  add.template operator()<64, KvFormat::kQ8_0>();
  add.template operator()<72, KvFormat::kF32>();
  add.template operator()<72, KvFormat::kF16>();
  add.template operator()<80, KvFormat::kF32>();
  add.template operator()<80, KvFormat::kF16>();
  add.template operator()<128, KvFormat::kF32>();
  add.template operator()<128, KvFormat::kF16>();
  add.template operator()<128, KvFormat::kQ8_0>();
}

// "attention_KIND_128_F16_int8TILE" of module "attention_128_F16_int8".
inline EmulatedKernel MakeKernel(const char* kind, unsigned head_dim, KvFormat format, ScoreType scores,
                                 const char* tile, unsigned threads, void (*run)(const AttentionParams&)) {
  constexpr const char* kFormatNames[] = {"F32", "F16", "Q8_0"};  // by value of KvFormat
  const std::string module = std::to_string(head_dim) + "_" + kFormatNames[static_cast<unsigned>(format)] +
                             (scores == ScoreType::kInt8 ? "_int8" : "");
  return {std::string("attention_") + kind + "_" + module + tile,
          "attention_" + module,
          head_dim,
          format,
          threads,
          run};
}

}  // namespace qwen3vl::gpu
