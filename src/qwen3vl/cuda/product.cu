// SPDX-License-Identifier: Apache-2.0
// The entry points of one module of products: QWEN3VL_WEIGHTS (F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K or
// Q6_K) comes from the build. Their names carry it: product_Q4_K_tile.
#include "qwen3vl/cuda/product.cuh"

#define QWEN3VL_JOIN(format, kind) product_##format##_##kind
#define QWEN3VL_NAME(format, kind) QWEN3VL_JOIN(format, kind)
#define QWEN3VL_FORMAT_OF(format) qwen3vl::gpu::WeightFormat::k##format
#define QWEN3VL_FORMAT(format) QWEN3VL_FORMAT_OF(format)

using qwen3vl::gpu::ProductParams;

QWEN3VL_KERNEL(128, 8) QWEN3VL_NAME(QWEN3VL_WEIGHTS, one)(const ProductParams p) {
  qwen3vl::gpu::DotProduct<QWEN3VL_FORMAT(QWEN3VL_WEIGHTS), 1>(p);
}

QWEN3VL_KERNEL(128, 6) QWEN3VL_NAME(QWEN3VL_WEIGHTS, four)(const ProductParams p) {
  qwen3vl::gpu::DotProduct<QWEN3VL_FORMAT(QWEN3VL_WEIGHTS), qwen3vl::gpu::kMaxDotTokens>(p);
}

QWEN3VL_KERNEL(256, 2) QWEN3VL_NAME(QWEN3VL_WEIGHTS, tile)(const ProductParams p) {
  qwen3vl::gpu::TileProduct<QWEN3VL_FORMAT(QWEN3VL_WEIGHTS)>(p);
}
