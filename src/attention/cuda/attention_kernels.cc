// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/attention_kernels.h"

#include <cmath>
#include <numbers>

namespace qwen3vl::attention {
namespace {

const char* NameOf(gpu::KvFormat format) {
  switch (format) {
    case gpu::KvFormat::kF16:
      return "F16";
    case gpu::KvFormat::kQ8_0:
      return "Q8_0";
    default:
      return "F32";
  }
}

}  // namespace

unsigned TileOf(const hw::GpuInfo& gpu, const hw::TilePlan& plan) {
  const size_t tile = plan.forced ? plan.tile : hw::ChooseTilePlan({.gpu = &gpu}, {}).tile;
  return tile <= 128 ? 128 : 256;
}

AttentionKernels LoadAttentionKernels(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                                      unsigned head_dim, gpu::KvFormat format, unsigned tile,
                                      gpu::ScoreType scores) {
  AttentionKernels kernels;
  kernels.name = std::to_string(head_dim) + "_" + NameOf(format);
  if (scores == gpu::ScoreType::kInt8) kernels.name += "_int8";
  kernels.tile = tile;
  const std::string names[] = {"attention_prefill_" + kernels.name + "_tile" + std::to_string(tile),
                               "attention_decode_" + kernels.name, "attention_merge_" + kernels.name};
  kernels.functions = hw::LoadFunctions(device, code, "attention_" + kernels.name, names);
  return kernels;
}

gpu::AttentionParams ParamsOf(const Inputs& in, const CudaProblem& problem) {
  const Shape& s = in.shape;
  gpu::AttentionParams p{};
  const double scale = in.scale != 0 ? in.scale : 1 / std::sqrt(static_cast<double>(s.head_dim));
  p.score_factor = static_cast<float>(std::abs(scale) * std::numbers::log2e);
  p.q_sign = scale < 0 ? -1.0f : 1.0f;
  p.q_len = static_cast<unsigned>(s.q_len);
  p.kv_len = static_cast<unsigned>(s.kv_len);
  p.n_heads = static_cast<unsigned>(s.n_heads);
  p.n_kv_heads = static_cast<unsigned>(s.n_kv_heads);
  p.splits = problem.splits;
  p.split_rows = problem.split_rows;
  return p;
}

gpu::AttentionParams ParamsAt(const Inputs& in, const CudaProblem& problem, hw::CudaAddress memory) {
  const CudaLayout& at = problem.layout;
  gpu::AttentionParams p = ParamsOf(in, problem);
  const auto address = [&]<class T>(T*& pointer, size_t offset) {
    pointer = reinterpret_cast<T*>(memory + offset);
  };
  address(p.q, at.q);
  p.k = reinterpret_cast<const void*>(memory + at.k);
  p.v = reinterpret_cast<const void*>(memory + at.v);
  address(p.k_scales, at.k_scales);
  address(p.v_scales, at.v_scales);
  address(p.seen, at.seen);
  address(p.out, at.out);
  address(p.stats, at.stats);
  address(p.partial, at.partial);
  address(p.partial_stats, at.partial_stats);
  return p;
}

void StartAttention(const hw::CudaDevice& device, const AttentionKernels& kernels, const Shape& s,
                    const CudaProblem& problem, const gpu::AttentionParams& params) {
  const auto heads = static_cast<unsigned>(s.n_kv_heads), batch = static_cast<unsigned>(s.batch);
  const std::vector<hw::CudaHandle>& entries = kernels.functions.entries;
  if (!problem.decode) {
    device.Start(entries[0], {problem.row_blocks, heads, batch}, kernels.tile, &params,
                 "attention_prefill_" + kernels.name);
    return;
  }
  const auto rows = static_cast<unsigned>(s.q_len * (s.n_heads / s.n_kv_heads));
  device.Start(entries[1], {problem.row_blocks * problem.splits, heads, batch}, gpu::kDecodeThreads, &params,
               "attention_decode_" + kernels.name);
  device.Start(entries[2], {rows, heads, batch}, gpu::kMergeThreads, &params,
               "attention_merge_" + kernels.name);
}

}  // namespace qwen3vl::attention
