// SPDX-License-Identifier: Apache-2.0
// The entry points of the module "route".
#include "qwen3vl/cuda/route.cuh"

namespace gpu = qwen3vl::gpu;

QWEN3VL_KERNEL(128, 8) route_tokens(const gpu::RouteParams p) { gpu::RouteTokens(p); }
QWEN3VL_KERNEL(256, 4) route_group(const gpu::GroupParams p) { gpu::GroupPairs(p); }
QWEN3VL_KERNEL(256, 4) route_mix(const gpu::MixParams p) { gpu::MixExperts(p); }
