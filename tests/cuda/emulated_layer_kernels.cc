// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cuda/emulated_modules.h"
#include "qwen3vl/cuda/layer_kernels.cuh"
#include "qwen3vl/cuda/product.cuh"
#include "qwen3vl/cuda/vision_kernels.cuh"

namespace qwen3vl::gpu {
namespace {

constexpr size_t kFloat = sizeof(float);

std::vector<KernelArray> ArraysOf(const NormParams& p, Grid grid) {
  const size_t bytes = size_t{grid.x} * p.cols * kFloat;
  return {{offsetof(NormParams, x), bytes, false},
          {offsetof(NormParams, weight), p.cols * kFloat, false},
          {offsetof(NormParams, y), bytes, true}};
}

std::vector<KernelArray> ArraysOf(const QuantizeParams& p, Grid grid) {
  const size_t padded = size_t{grid.y} * p.padded;
  return {{offsetof(QuantizeParams, x), size_t{grid.y} * p.cols * kFloat, false},
          {offsetof(QuantizeParams, q), padded, true},
          {offsetof(QuantizeParams, scales), padded / 32 * kFloat, true},
          {offsetof(QuantizeParams, sums), padded / 16 * kFloat, true}};
}

std::vector<KernelArray> ArraysOf(const HeadParams& p, Grid grid) {
  const size_t tokens = grid.y, half = p.head_dim / 2;
  return {{offsetof(HeadParams, x), tokens * p.heads * p.head_dim * kFloat, false},
          {offsetof(HeadParams, weight), p.weight ? p.head_dim * kFloat : 0, false},
          {offsetof(HeadParams, cos), tokens * half * kFloat, false},
          {offsetof(HeadParams, sin), tokens * half * kFloat, false},
          {offsetof(HeadParams, y), tokens * p.heads * p.columns * kFloat, true}};
}

template <KeepAs kAs>
std::vector<KernelArray> KeepArraysOf(const KeepParams& p, Grid grid) {
  const size_t rows = size_t{p.heads} * p.capacity * p.columns;
  const size_t element = kAs == KeepAs::kQ8_0 ? 1 : kAs == KeepAs::kF16 ? 2 : 4;
  return {{offsetof(KeepParams, x), size_t{grid.y} * p.heads * p.head_dim * kFloat, false},
          {offsetof(KeepParams, rows), rows * element, true},
          {offsetof(KeepParams, scales), kAs == KeepAs::kQ8_0 ? rows / 32 * 2 : 0, true}};
}

std::vector<KernelArray> ArraysOf(const SwiGluParams& p, Grid) {
  return {{offsetof(SwiGluParams, gate), p.count * kFloat, true},
          {offsetof(SwiGluParams, up), p.count * kFloat, false}};
}

std::vector<KernelArray> ArraysOf(const NarrowParams& p, Grid) {
  return {{offsetof(NarrowParams, x), size_t{p.count} / p.head_dim * p.columns * kFloat, false},
          {offsetof(NarrowParams, y), p.count * kFloat, true}};
}

std::vector<KernelArray> ArraysOf(const AddRowsParams& p, Grid grid) {
  unsigned last = 0;
  for (unsigned i = 0; i < grid.y; ++i) last = std::max(last, p.at[i]);
  return {{offsetof(AddRowsParams, rows), size_t{grid.y} * p.cols * kFloat, false},
          {offsetof(AddRowsParams, at), grid.y * sizeof(unsigned), false},
          {offsetof(AddRowsParams, x), (size_t{last} + 1) * p.cols * kFloat, true}};
}

std::vector<KernelArray> ArraysOf(const LayerNormParams& p, Grid grid) {
  const size_t bytes = size_t{grid.x} * p.cols * kFloat;
  return {{offsetof(LayerNormParams, x), bytes, false},
          {offsetof(LayerNormParams, weight), p.cols * kFloat, false},
          {offsetof(LayerNormParams, bias), p.cols * kFloat, false},
          {offsetof(LayerNormParams, y), bytes, true}};
}

std::vector<KernelArray> ArraysOf(const SplitParams& p, Grid grid) {
  const size_t tokens = grid.y, half = p.head_dim / 2;
  const size_t kept = size_t{p.heads} * p.capacity * p.columns * kFloat;
  return {{offsetof(SplitParams, qkv), tokens * 3 * p.heads * p.head_dim * kFloat, false},
          {offsetof(SplitParams, cos), tokens * half * kFloat, false},
          {offsetof(SplitParams, sin), tokens * half * kFloat, false},
          {offsetof(SplitParams, q), tokens * p.heads * p.columns * kFloat, true},
          {offsetof(SplitParams, k), kept, true},
          {offsetof(SplitParams, v), kept, true}};
}

std::vector<KernelArray> ArraysOf(const GeluParams& p, Grid) {
  return {{offsetof(GeluParams, x), p.count * kFloat, true}};
}

std::vector<KernelArray> ProductArraysOf(const ProductParams& p, Grid) {
  const size_t padded = size_t{p.n} * p.blocks * kBlockCols;
  return {{offsetof(ProductParams, weights), size_t{p.rows} * p.row_bytes, false},
          {offsetof(ProductParams, x), p.blocks ? 0 : size_t{p.n} * p.cols * kFloat, false},
          {offsetof(ProductParams, q), padded, false},
          {offsetof(ProductParams, scales), padded / 32 * kFloat, false},
          {offsetof(ProductParams, sums), padded / 16 * kFloat, false},
          {offsetof(ProductParams, bias), p.bias ? p.rows * kFloat : 0, false},
          {offsetof(ProductParams, y), size_t{p.n} * p.rows * kFloat, true}};
}

template <WeightFormat kFormat>
void AddProducts(const std::string& format, std::vector<EmulatedKernel>& kernels) {
  const std::string module = "product_" + format;
  const auto add = [&](const char* name, unsigned threads, void (*run)(const ProductParams&)) {
    kernels.push_back(MakeEmulatedKernel(module + name, module, threads, run, &ProductArraysOf));
  };
  add("_one", kDotThreads, &DotProduct<kFormat, 1>);
  add("_four", kDotThreads, &DotProduct<kFormat, kMaxDotTokens>);
  add("_tile", kTileThreads, &TileProduct<kFormat>);
}

}  // namespace

void AddLayerKernels(std::vector<EmulatedKernel>& kernels) {
  const auto add = [&]<class Params>(const std::string& name, unsigned threads, void (*run)(const Params&)) {
    const std::string module = name.substr(0, name.find('_'));
    kernels.push_back(MakeEmulatedKernel(name, module, threads, run,
                                         [](const Params& p, Grid grid) { return ArraysOf(p, grid); }));
  };
  const auto keep = [&](const char* name, void (*run)(const KeepParams&), auto arrays) {
    kernels.push_back(MakeEmulatedKernel(name, "layer", kHeadThreads, run, arrays));
  };
  add("layer_rms_norm", kNormThreads, &RmsNorm);
  add("layer_quantize", kQuantizeThreads, &QuantizeRows);
  add("layer_heads", kHeadThreads, &NormAndRotateHeads);
  keep("layer_keep_F32", &KeepRows<KeepAs::kF32>, &KeepArraysOf<KeepAs::kF32>);
  keep("layer_keep_BF16", &KeepRows<KeepAs::kBF16>, &KeepArraysOf<KeepAs::kBF16>);
  keep("layer_keep_F16", &KeepRows<KeepAs::kF16>, &KeepArraysOf<KeepAs::kF16>);
  keep("layer_keep_Q8_0", &KeepRows<KeepAs::kQ8_0>, &KeepArraysOf<KeepAs::kQ8_0>);
  add("layer_swiglu", kValueThreads, &SwiGlu);
  add("layer_narrow", kValueThreads, &Narrow);
  add("layer_add_rows", kValueThreads, &AddRows);
  add("vision_layer_norm", kNormThreads, &LayerNorm);
  add("vision_split", kHeadThreads, &SplitHeads);
  add("vision_gelu_tanh", kValueThreads, &Gelu<GeluTanh>);
  add("vision_gelu_erf", kValueThreads, &Gelu<GeluErf>);
  ForEachWeightFormat([&]<WeightFormat kFormat>(const char* name) { AddProducts<kFormat>(name, kernels); });
}

}  // namespace qwen3vl::gpu
