// SPDX-License-Identifier: Apache-2.0
// The entry points of one module of experts' products: experts_Q4_K_tile.
#include "qwen3vl/cuda/expert_product.cuh"
#include "qwen3vl/cuda/product_names.cuh"

namespace gpu = qwen3vl::gpu;

QWEN3VL_KERNEL(128, 8) QWEN3VL_ENTRY(experts, one)(const gpu::ExpertProductParams p) {
  gpu::DotExpert<QWEN3VL_FORMAT>(p);
}

QWEN3VL_KERNEL(256, 2) QWEN3VL_ENTRY(experts, tile)(const gpu::ExpertProductParams p) {
  gpu::TileExpert<QWEN3VL_FORMAT>(p);
}
