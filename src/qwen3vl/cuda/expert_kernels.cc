// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/expert_kernels.h"

#include <cassert>

#include "qwen3vl/cuda/device_address.h"

namespace qwen3vl {
namespace {

// In the order of ExpertKernels::route_.entries.
enum Entry { kTokens, kGroup, kMix };

}  // namespace

ExpertKernels::ExpertKernels(std::shared_ptr<const hw::CudaDevice> device,
                             std::span<const hw::DeviceCode> code, const std::set<gpu::WeightFormat>& formats)
    : device_(std::move(device)) {
  const std::string names[] = {"route_tokens", "route_group", "route_mix"};
  route_ = LoadNeeded(*device_, code, "route", names);
  for (gpu::WeightFormat format : formats) {
    ProductFunctions& p = products_[static_cast<size_t>(format)];
    p.name = std::string("experts_") + NameOf(format);
    const std::string entries[] = {p.name + "_one", p.name + "_tile"};
    p.functions = LoadNeeded(*device_, code, p.name, entries);
  }
}

void ExpertKernels::Route(hw::CudaAddress logits, const DevicePairs& pairs) const {
  const gpu::RouteParams route{.logits = At<float>(logits),
                               .experts = At<unsigned>(pairs.experts),
                               .weights = At<float>(pairs.weights),
                               .n = Count(pairs.n_tokens),
                               .n_experts = Count(pairs.n_experts),
                               .used = Count(pairs.used)};
  device_->Start(route_.entries[kTokens], {Groups(pairs.n_tokens, gpu::kRouteThreads / 32)},
                 gpu::kRouteThreads, &route, "route_tokens");
  if (!pairs.by_tiles()) return;
  const gpu::GroupParams group{.experts = At<unsigned>(pairs.experts),
                               .order = At<unsigned>(pairs.order),
                               .tiles = At<gpu::ExpertTile>(pairs.tiles),
                               .n_pairs = Count(pairs.n()),
                               .n_experts = Count(pairs.n_experts),
                               .n_tiles = Count(pairs.n_tiles())};
  device_->Start(route_.entries[kGroup], {1}, gpu::kGroupThreads, &group, "route_group");
}

void ExpertKernels::Product(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows,
                            const DevicePairs& pairs) const {
  assert(rows.n == pairs.n() || rows.n == pairs.n_tokens);
  const DeviceWeight& weight = part.weight->layout;
  gpu::ExpertProductParams params{.product = ParamsOf(part, weights, rows),
                                  .experts = At<unsigned>(pairs.experts),
                                  .order = At<unsigned>(pairs.order),
                                  .tiles = At<gpu::ExpertTile>(pairs.tiles),
                                  .expert_bytes = weight.bytes(),
                                  .share = Count(pairs.n() / rows.n)};
  params.product.n = Count(pairs.n());
  const ProductFunctions& p = products_[static_cast<size_t>(weight.format)];
  if (pairs.by_tiles())
    device_->Start(p.functions.entries[1], {Groups(weight.rows, gpu::kTileRows), Count(pairs.n_tiles())},
                   gpu::kTileThreads, &params, p.name + "_tile");
  else
    device_->Start(p.functions.entries[0], {Groups(weight.rows, gpu::kDotRows), Count(pairs.n())},
                   gpu::kDotThreads, &params, p.name + "_one");
}

void ExpertKernels::Mix(hw::CudaAddress y, const DevicePairs& pairs, hw::CudaAddress x, size_t cols) const {
  const gpu::MixParams params{.y = At<float>(y),
                              .weights = At<float>(pairs.weights),
                              .x = At<float>(x),
                              .cols = Count(cols),
                              .used = Count(pairs.used)};
  device_->Start(route_.entries[kMix], {Groups(cols, gpu::kValuesPerBlock), Count(pairs.n_tokens)},
                 gpu::kValueThreads, &params, "route_mix");
}

}  // namespace qwen3vl
