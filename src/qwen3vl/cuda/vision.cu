// SPDX-License-Identifier: Apache-2.0
// The entry points of the module "vision".
#include "qwen3vl/cuda/vision_kernels.cuh"

namespace gpu = qwen3vl::gpu;

QWEN3VL_KERNEL(256, 4) vision_layer_norm(const gpu::LayerNormParams p) { gpu::LayerNorm(p); }
QWEN3VL_KERNEL(128, 8) vision_split(const gpu::SplitParams p) { gpu::SplitHeads(p); }
QWEN3VL_KERNEL(256, 4) vision_gelu_tanh(const gpu::GeluParams p) { gpu::Gelu<gpu::GeluTanh>(p); }
QWEN3VL_KERNEL(256, 4) vision_gelu_erf(const gpu::GeluParams p) { gpu::Gelu<gpu::GeluErf>(p); }
