// SPDX-License-Identifier: Apache-2.0
// The entry points of the module "layer".
#include "qwen3vl/cuda/layer_kernels.cuh"

namespace gpu = qwen3vl::gpu;

QWEN3VL_KERNEL(256, 4) layer_rms_norm(const gpu::NormParams p) { gpu::RmsNorm(p); }
QWEN3VL_KERNEL(256, 4) layer_quantize(const gpu::QuantizeParams p) { gpu::QuantizeRows(p); }
QWEN3VL_KERNEL(128, 8) layer_heads(const gpu::HeadParams p) { gpu::NormAndRotateHeads(p); }
QWEN3VL_KERNEL(128, 8) layer_keep_F32(const gpu::KeepParams p) { gpu::KeepRows<gpu::KeepAs::kF32>(p); }
QWEN3VL_KERNEL(128, 8) layer_keep_BF16(const gpu::KeepParams p) { gpu::KeepRows<gpu::KeepAs::kBF16>(p); }
QWEN3VL_KERNEL(128, 8) layer_keep_F16(const gpu::KeepParams p) { gpu::KeepRows<gpu::KeepAs::kF16>(p); }
QWEN3VL_KERNEL(128, 8) layer_keep_Q8_0(const gpu::KeepParams p) { gpu::KeepRows<gpu::KeepAs::kQ8_0>(p); }
QWEN3VL_KERNEL(256, 4) layer_swiglu(const gpu::SwiGluParams p) { gpu::SwiGlu(p); }
QWEN3VL_KERNEL(256, 4) layer_narrow(const gpu::NarrowParams p) { gpu::Narrow(p); }
QWEN3VL_KERNEL(256, 4) layer_add_rows(const gpu::AddRowsParams p) { gpu::AddRows(p); }
