// SPDX-License-Identifier: Apache-2.0
// The entry points of one module: QWEN3VL_HEAD_DIM (64, 72, 80 or 128) and QWEN3VL_KV (F32, F16 or Q8_0) come
// from the build. Their names carry both: attention_prefill_128_F16_tile256. With QWEN3VL_TILE_256_ONLY there
// is no tile of 128.
#include "attention/cuda/decode.cuh"
#include "attention/cuda/prefill.cuh"

#define QWEN3VL_JOIN(kind, dim, kv) attention_##kind##_##dim##_##kv
#define QWEN3VL_JOIN_TILE(kind, dim, kv, tile) attention_##kind##_##dim##_##kv##_tile##tile
#define QWEN3VL_NAME(kind, dim, kv) QWEN3VL_JOIN(kind, dim, kv)
#define QWEN3VL_NAME_TILE(kind, dim, kv, tile) QWEN3VL_JOIN_TILE(kind, dim, kv, tile)
#define QWEN3VL_FORMAT_OF(kv) qwen3vl::gpu::KvFormat::k##kv
#define QWEN3VL_FORMAT(kv) QWEN3VL_FORMAT_OF(kv)

using qwen3vl::gpu::AttentionParams;

#if !defined(QWEN3VL_TILE_256_ONLY)
// Two blocks of the tile of 128 share a multiprocessor's registers: its q rows need them more than the warps.
QWEN3VL_KERNEL(128, 2)
QWEN3VL_NAME_TILE(prefill, QWEN3VL_HEAD_DIM, QWEN3VL_KV, 128)(const AttentionParams p) {
  qwen3vl::gpu::Prefill<QWEN3VL_HEAD_DIM, 128, QWEN3VL_FORMAT(QWEN3VL_KV)>(p);
}
#endif

QWEN3VL_KERNEL(256, 1)
QWEN3VL_NAME_TILE(prefill, QWEN3VL_HEAD_DIM, QWEN3VL_KV, 256)(const AttentionParams p) {
  qwen3vl::gpu::Prefill<QWEN3VL_HEAD_DIM, 256, QWEN3VL_FORMAT(QWEN3VL_KV)>(p);
}

QWEN3VL_KERNEL(128, 3)
QWEN3VL_NAME(decode, QWEN3VL_HEAD_DIM, QWEN3VL_KV)(const AttentionParams p) {
  qwen3vl::gpu::Decode<QWEN3VL_HEAD_DIM, QWEN3VL_FORMAT(QWEN3VL_KV)>(p);
}

QWEN3VL_KERNEL(128, 8)
QWEN3VL_NAME(merge, QWEN3VL_HEAD_DIM, QWEN3VL_KV)(const AttentionParams p) {
  qwen3vl::gpu::Merge<QWEN3VL_HEAD_DIM>(p);
}
