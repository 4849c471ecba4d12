// SPDX-License-Identifier: Apache-2.0
// Names of the entry points of a module that is made for one weight format: QWEN3VL_WEIGHTS (F32, F16, BF16,
// Q8_0, Q4_0, Q4_K, Q5_K or Q6_K), which comes from the build. QWEN3VL_ENTRY(product, tile) is
// product_Q4_K_tile, QWEN3VL_FORMAT the format itself.
#pragma once

#define QWEN3VL_JOIN(product, format, kind) product##_##format##_##kind
#define QWEN3VL_JOIN_EXPANDED(product, format, kind) QWEN3VL_JOIN(product, format, kind)
#define QWEN3VL_ENTRY(product, kind) QWEN3VL_JOIN_EXPANDED(product, QWEN3VL_WEIGHTS, kind)
#define QWEN3VL_FORMAT_OF(format) qwen3vl::gpu::WeightFormat::k##format
#define QWEN3VL_FORMAT_EXPANDED(format) QWEN3VL_FORMAT_OF(format)
#define QWEN3VL_FORMAT QWEN3VL_FORMAT_EXPANDED(QWEN3VL_WEIGHTS)
