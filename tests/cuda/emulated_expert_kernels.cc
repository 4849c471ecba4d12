// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cuda/emulated_modules.h"
#include "qwen3vl/cuda/expert_product.cuh"
#include "qwen3vl/cuda/route.cuh"

namespace qwen3vl::gpu {
namespace {

constexpr size_t kFloat = sizeof(float), kWord = sizeof(unsigned);

std::vector<KernelArray> ArraysOf(const RouteParams& p, Grid) {
  const size_t pairs = size_t{p.n} * p.used;
  return {{offsetof(RouteParams, logits), size_t{p.n} * p.n_experts * kFloat, false},
          {offsetof(RouteParams, experts), pairs * kWord, true},
          {offsetof(RouteParams, weights), pairs * kFloat, true}};
}

std::vector<KernelArray> ArraysOf(const GroupParams& p, Grid) {
  return {{offsetof(GroupParams, experts), p.n_pairs * kWord, false},
          {offsetof(GroupParams, order), p.n_pairs * kWord, true},
          {offsetof(GroupParams, tiles), p.n_tiles * sizeof(ExpertTile), true}};
}

std::vector<KernelArray> ArraysOf(const MixParams& p, Grid grid) {
  const size_t pairs = size_t{grid.y} * p.used;
  return {{offsetof(MixParams, y), pairs * p.cols * kFloat, false},
          {offsetof(MixParams, weights), pairs * kFloat, false},
          {offsetof(MixParams, x), size_t{grid.y} * p.cols * kFloat, true}};
}

// A launch by pairs reads their experts, one by tiles their order.
template <bool kTiles>
std::vector<KernelArray> ProductArraysOf(const ExpertProductParams& e, Grid grid) {
  using E = ExpertProductParams;
  constexpr size_t kProduct = offsetof(E, product);
  const ProductParams& p = e.product;
  const size_t x_rows = p.n / e.share, padded = x_rows * p.blocks * kBlockCols;
  unsigned last = 0;
  for (unsigned i = 0; i < grid.y; ++i) last = std::max(last, kTiles ? e.tiles[i].expert : e.experts[i]);
  return {{kProduct + offsetof(ProductParams, weights), (size_t{last} + 1) * e.expert_bytes, false},
          {kProduct + offsetof(ProductParams, x), p.blocks ? 0 : x_rows * p.cols * kFloat, false},
          {kProduct + offsetof(ProductParams, q), padded, false},
          {kProduct + offsetof(ProductParams, scales), padded / 32 * kFloat, false},
          {kProduct + offsetof(ProductParams, sums), padded / 16 * kFloat, false},
          {kProduct + offsetof(ProductParams, bias), 0, false},
          {kProduct + offsetof(ProductParams, y), size_t{p.n} * p.rows * kFloat, true},
          {offsetof(E, experts), kTiles ? 0 : p.n * kWord, false},
          {offsetof(E, order), kTiles ? p.n * kWord : 0, false},
          {offsetof(E, tiles), kTiles ? grid.y * sizeof(ExpertTile) : 0, false}};
}

template <WeightFormat kFormat>
void AddProducts(const std::string& format, std::vector<EmulatedKernel>& kernels) {
  const std::string module = "experts_" + format;
  kernels.push_back(
      MakeEmulatedKernel(module + "_one", module, kDotThreads, &DotExpert<kFormat>, &ProductArraysOf<false>));
  kernels.push_back(MakeEmulatedKernel(module + "_tile", module, kTileThreads, &TileExpert<kFormat>,
                                       &ProductArraysOf<true>));
}

}  // namespace

void AddExpertKernels(std::vector<EmulatedKernel>& kernels) {
  const auto add = [&]<class Params>(const char* name, unsigned threads, void (*run)(const Params&)) {
    kernels.push_back(MakeEmulatedKernel(name, "route", threads, run,
                                         [](const Params& p, Grid grid) { return ArraysOf(p, grid); }));
  };
  add("route_tokens", kRouteThreads, &RouteTokens);
  add("route_group", kGroupThreads, &GroupPairs);
  add("route_mix", kValueThreads, &MixExperts);
  ForEachWeightFormat([&]<WeightFormat kFormat>(const char* name) { AddProducts<kFormat>(name, kernels); });
}

}  // namespace qwen3vl::gpu
