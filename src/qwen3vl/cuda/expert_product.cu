// SPDX-License-Identifier: Apache-2.0
// The entry points of one module of experts' products, for the format QWEN3VL_WEIGHTS, as in product.cu:
// experts_Q4_K_tile.
#include "qwen3vl/cuda/expert_product.cuh"

#define QWEN3VL_JOIN(format, kind) experts_##format##_##kind
#define QWEN3VL_NAME(format, kind) QWEN3VL_JOIN(format, kind)
#define QWEN3VL_FORMAT_OF(format) qwen3vl::gpu::WeightFormat::k##format
#define QWEN3VL_FORMAT(format) QWEN3VL_FORMAT_OF(format)

using qwen3vl::gpu::ExpertProductParams;

QWEN3VL_KERNEL(128, 8) QWEN3VL_NAME(QWEN3VL_WEIGHTS, one)(const ExpertProductParams p) {
  qwen3vl::gpu::DotExpert<QWEN3VL_FORMAT(QWEN3VL_WEIGHTS)>(p);
}

QWEN3VL_KERNEL(256, 2) QWEN3VL_NAME(QWEN3VL_WEIGHTS, tile)(const ExpertProductParams p) {
  qwen3vl::gpu::TileExpert<QWEN3VL_FORMAT(QWEN3VL_WEIGHTS)>(p);
}
