// SPDX-License-Identifier: Apache-2.0
// The entry points of one module of products: product_Q4_K_tile.
#include "qwen3vl/cuda/product.cuh"
#include "qwen3vl/cuda/product_names.cuh"

namespace gpu = qwen3vl::gpu;

QWEN3VL_KERNEL(128, 8) QWEN3VL_ENTRY(product, one)(const gpu::ProductParams p) {
  gpu::DotProduct<QWEN3VL_FORMAT, 1>(p);
}

QWEN3VL_KERNEL(128, 6) QWEN3VL_ENTRY(product, four)(const gpu::ProductParams p) {
  gpu::DotProduct<QWEN3VL_FORMAT, gpu::kMaxDotTokens>(p);
}

QWEN3VL_KERNEL(256, 2) QWEN3VL_ENTRY(product, tile)(const gpu::ProductParams p) {
  gpu::TileProduct<QWEN3VL_FORMAT>(p);
}
