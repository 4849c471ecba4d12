// SPDX-License-Identifier: Apache-2.0
// Products of the experts: those of product.cuh, each on the rows that are routed to one expert.
#pragma once

#include "qwen3vl/cuda/expert_params.h"
#include "qwen3vl/cuda/product.cuh"

namespace qwen3vl::gpu {

QWEN3VL_DEVICE const void* WeightsOf(const ExpertProductParams& e, unsigned expert) {
  return static_cast<const unsigned char*>(e.product.weights) + expert * e.expert_bytes;
}

// A pair for each row of blocks; its expert's weights are streamed.
template <WeightFormat kFormat>
QWEN3VL_DEVICE void DotExpert(const ExpertProductParams& e) {
  const unsigned pair = BlockY();
  const unsigned long long row = pair / e.share;
  ProductParams p = e.product;
  p.n = 1;
  p.weights = WeightsOf(e, e.experts[pair]);
  if constexpr (kHasCodes<kFormat>) {
    const unsigned long long column = row * p.blocks * kBlockCols;
    p.q += column / 4;
    p.scales += column / 32;
    p.sums += column / 16;
  } else {
    p.x += row * p.cols;
  }
  p.y += static_cast<unsigned long long>(pair) * p.rows;
  DotProduct<kFormat, 1>(p);
}

// The rows of a tile of pairs.
struct PairRows {
  const unsigned* pairs;
  unsigned count, share;
  QWEN3VL_DEVICE unsigned OfX(unsigned local) const {
    return pairs[local < count ? local : count - 1] / share;
  }
  QWEN3VL_DEVICE unsigned OfY(unsigned local) const { return pairs[local]; }
  QWEN3VL_DEVICE bool Exists(unsigned local) const { return local < count; }
};

template <WeightFormat kFormat>
QWEN3VL_DEVICE void TileExpert(const ExpertProductParams& e) {
  const ExpertTile tile = e.tiles[BlockY()];
  if (tile.count == 0) return;
  ProductParams p = e.product;
  p.weights = WeightsOf(e, tile.expert);
  MultiplyTile<kFormat>(p, PairRows{e.order + tile.first, tile.count, e.share});
}

}  // namespace qwen3vl::gpu
