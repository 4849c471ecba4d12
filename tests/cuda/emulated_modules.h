// SPDX-License-Identifier: Apache-2.0
// The list of modules that the emulated kernels are made for, and what each file of kernels adds to it. One
// file for each kind of kernel, so that a change of one kind compiles only that.
#pragma once

#include <string>
#include <vector>

#include "attention/cuda/attention_params.h"
#include "cuda/emulated_kernels.h"
#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl::gpu {

template <ScoreType kScores>
void AddPrefill(std::vector<EmulatedKernel>& kernels);
void AddDecode(std::vector<EmulatedKernel>& kernels);  // with Merge, for both kinds of scores

void AddLayerKernels(std::vector<EmulatedKernel>& kernels);   // everything of a decoder layer but attention
void AddExpertKernels(std::vector<EmulatedKernel>& kernels);  // of a mixture of experts

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

// Calls add.operator()<kFormat>(name) for each format of weights, in whose module names that name stands.
template <class F>
void ForEachWeightFormat(const F& add) {
  add.template operator()<WeightFormat::kF32>("F32");
  add.template operator()<WeightFormat::kF16>("F16");
  add.template operator()<WeightFormat::kBF16>("BF16");
  add.template operator()<WeightFormat::kQ8_0>("Q8_0");
  add.template operator()<WeightFormat::kQ4_0>("Q4_0");
  add.template operator()<WeightFormat::kQ4_K>("Q4_K");
  add.template operator()<WeightFormat::kQ5_K>("Q5_K");
  add.template operator()<WeightFormat::kQ6_K>("Q6_K");
}

// The arrays of an attention launch on rows of head_dim columns; `split`: of decode or merge.
inline std::vector<KernelArray> AttentionArrays(const AttentionParams& p, Grid grid, unsigned head_dim,
                                                KvFormat format, bool split) {
  using P = AttentionParams;
  const size_t batch = grid.z, rows = batch * p.q_len * p.n_heads;
  const size_t kv = batch * p.n_kv_heads * p.kv_len * head_dim;
  const size_t element = format == KvFormat::kF32 ? 4 : format == KvFormat::kF16 ? 2 : 1;
  const size_t scales = format == KvFormat::kQ8_0 ? kv / 32 * 2 : 0;
  return {{offsetof(P, q), rows * head_dim * 4, false},
          {offsetof(P, k), kv * element, false},
          {offsetof(P, v), kv * element, false},
          {offsetof(P, k_scales), scales, false},
          {offsetof(P, v_scales), scales, false},
          {offsetof(P, seen), batch * p.q_len * sizeof(SeenRange), false},
          {offsetof(P, out), rows * head_dim * 4, true},
          {offsetof(P, stats), rows * 2 * 4, true},
          {offsetof(P, partial), split ? rows * p.splits * head_dim * 4 : 0, true},
          {offsetof(P, partial_stats), split ? rows * p.splits * 2 * 4 : 0, true}};
}

// "attention_KIND_128_F16_int8TILE" of module "attention_128_F16_int8".
inline EmulatedKernel MakeKernel(const char* kind, unsigned head_dim, KvFormat format, ScoreType scores,
                                 const char* tile, unsigned threads, void (*run)(const AttentionParams&)) {
  constexpr const char* kFormatNames[] = {"F32", "F16", "Q8_0"};  // by value of KvFormat
  const std::string module = std::to_string(head_dim) + "_" + kFormatNames[static_cast<unsigned>(format)] +
                             (scores == ScoreType::kInt8 ? "_int8" : "");
  const bool split = std::string(kind) != "prefill";
  return MakeEmulatedKernel(
      std::string("attention_") + kind + "_" + module + tile, "attention_" + module, threads, run,
      [=](const AttentionParams& p, Grid grid) { return AttentionArrays(p, grid, head_dim, format, split); });
}

}  // namespace qwen3vl::gpu
