// SPDX-License-Identifier: Apache-2.0
// The entry points of one module: QWEN3VL_HEAD_DIM (64, 72, 80 or 128) and QWEN3VL_KV (F32, F16 or Q8_0) come
// from the build, and QWEN3VL_INT8_SCORES where scores are computed from 8 bits. Their names carry all of it:
// attention_prefill_128_F16_tile256, attention_prefill_128_F16_int8_tile256. With QWEN3VL_TILE_256_ONLY there
// is no tile of 128.
#include "attention/cuda/decode.cuh"
#include "attention/cuda/prefill.cuh"

#if defined(QWEN3VL_INT8_SCORES)
#define QWEN3VL_SUFFIX(tile) _int8##tile
#else
#define QWEN3VL_SUFFIX(tile) tile
#endif
#define QWEN3VL_JOIN(kind, dim, kv, suffix) attention_##kind##_##dim##_##kv##suffix
#define QWEN3VL_JOINED(kind, dim, kv, suffix) QWEN3VL_JOIN(kind, dim, kv, suffix)
#define QWEN3VL_NAME(kind, tile) QWEN3VL_JOINED(kind, QWEN3VL_HEAD_DIM, QWEN3VL_KV, QWEN3VL_SUFFIX(tile))
#define QWEN3VL_FORMAT_OF(kv) qwen3vl::gpu::KvFormat::k##kv
#define QWEN3VL_FORMAT(kv) QWEN3VL_FORMAT_OF(kv)

using qwen3vl::gpu::AttentionParams;

namespace {
constexpr int kDim = QWEN3VL_HEAD_DIM;
constexpr auto kFormat = QWEN3VL_FORMAT(QWEN3VL_KV);
#if defined(QWEN3VL_INT8_SCORES)
constexpr auto kScores = qwen3vl::gpu::ScoreType::kInt8;
#else
constexpr auto kScores = qwen3vl::gpu::ScoreType::kF32;
#endif
}  // namespace

#if !defined(QWEN3VL_TILE_256_ONLY)
// Two blocks of the tile of 128 share a multiprocessor's registers: its q rows need them more than the warps.
QWEN3VL_KERNEL(128, 2)
QWEN3VL_NAME(prefill, _tile128)(const AttentionParams p) {
  qwen3vl::gpu::Prefill<kDim, 128, kFormat, kScores>(p);
}
#endif

QWEN3VL_KERNEL(256, 1)
QWEN3VL_NAME(prefill, _tile256)(const AttentionParams p) {
  qwen3vl::gpu::Prefill<kDim, 256, kFormat, kScores>(p);
}

QWEN3VL_KERNEL(qwen3vl::gpu::kDecodeThreads, qwen3vl::gpu::kDecodeBlocks)
QWEN3VL_NAME(decode, )(const AttentionParams p) { qwen3vl::gpu::Decode<kDim, kFormat, kScores>(p); }

QWEN3VL_KERNEL(128, 8)
QWEN3VL_NAME(merge, )(const AttentionParams p) { qwen3vl::gpu::Merge<kDim>(p); }
