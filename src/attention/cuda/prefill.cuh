// SPDX-License-Identifier: Apache-2.0
// Attention of many q rows: tiled online softmax (FlashAttention, algorithm 1) in fp32, since compute
// capability 6.1 does fp16 arithmetic at 1/64 of that rate; scores also from 8-bit q and k. A block owns 64
// rows of one kv head and walks over tiles of keys. A thread owns kThreadRows x kThreadKeys scores and
// kThreadRows x kThreadCols sums in registers, so that each value read from shared memory takes part in 4
// products or more (shared memory gives a quarter of a word per multiply-add there).
//
// Shared memory holds slices: of q and k along head_dim for the scores, of the weights and v along the keys
// for the sums; both use the same bytes. Rows past the end are read from the last row and hidden by the mask:
// no read leaves its array, and no branch stands around a load.
#pragma once

#include "attention/cuda/attention_params.h"
#include "attention/cuda/kv_rows.cuh"
#include "attention/cuda/prefill_f32.cuh"
#include "attention/cuda/prefill_int8.cuh"
#include "attention/cuda/prefill_shape.cuh"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

template <int kDim, int kTile, ScoreType kScores>
struct ScoresOf : F32Scores<kDim, kTile> {};
template <int kDim, int kTile>
struct ScoresOf<kDim, kTile, ScoreType::kInt8> : Int8Scores<kDim, kTile> {};

template <int kDim, int kTile, ScoreType kScores>
struct PrefillBlock : PrefillShape<kDim, kTile> {
  using Shape = PrefillShape<kDim, kTile>;
  using Scores = ScoresOf<kDim, kTile, kScores>;

  struct alignas(16) Shared : Scores::Kept {
    union {
      typename Scores::Slices scores;
      typename Shape::SumSlices sums;
    };
    SeenRange seen[Shape::kRows];
    unsigned q_row[Shape::kRows];  // token * n_heads + head
  };
  static_assert(sizeof(Shared) <= 48 * 1024, "a block of compute capability 6.1 has no more");
};

// Which rows the block has and what they see. Rows past the end repeat the last one.
template <class S>
QWEN3VL_DEVICE void DescribeRows(const AttentionParams& p, unsigned first_row, unsigned batch,
                                 unsigned kv_head, typename S::Shared& shared) {
  const unsigned group = p.n_heads / p.n_kv_heads;
  const unsigned r = ThreadIndex();
  if (r < S::kRows) {
    const unsigned last = p.q_len * group - 1;
    const unsigned row = first_row + r < last ? first_row + r : last;
    const unsigned token = row / group;
    shared.q_row[r] = token * p.n_heads + kv_head * group + row % group;
    shared.seen[r] = p.seen[static_cast<unsigned long long>(batch) * p.q_len + token];
  }
}

// Scores of keys that a row does not see become -inf.
template <class S>
QWEN3VL_DEVICE void HideScores(const typename S::Shared& shared, unsigned tile_begin,
                               typename S::Registers& r) {
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kThreadRows; ++i) {
    const SeenRange seen = shared.seen[RowThread() + i * S::kRowThreads];
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kThreadKeys; ++j) {
      const unsigned key = tile_begin + KeyThread() + 16 * j;
      if (key < seen.begin || key >= seen.end) r.scores[i][j] = NegativeInfinity();
    }
  }
}

// The 16 key threads of a row agree on its new maximum; scores become weights, earlier sums are corrected.
template <class S>
QWEN3VL_DEVICE void UpdateSoftmax(float factor, typename S::Registers& r) {
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kThreadRows; ++i) {
    float row_max = r.row_max[i];
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kThreadKeys; ++j) row_max = Max(row_max, r.scores[i][j]);
    QWEN3VL_UNROLL
    for (unsigned mask = 8; mask > 0; mask /= 2) row_max = Max(row_max, ShuffleXor(row_max, mask));
    // Nothing seen so far: any finite value will do, and gives no inf - inf.
    const float base = row_max == NegativeInfinity() ? 0.0f : row_max;
    const float correction = Exp2((r.row_max[i] - base) * factor);
    r.row_max[i] = row_max;
    float sum = r.row_sum[i] * correction;
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kThreadKeys; ++j) sum += r.scores[i][j] = Exp2((r.scores[i][j] - base) * factor);
    r.row_sum[i] = sum;
    QWEN3VL_UNROLL
    for (int c = 0; c < S::kThreadCols; ++c) r.acc[i][c] *= correction;
  }
}

// acc += weights v of the slice in shared memory.
template <class S, int kDim>
QWEN3VL_DEVICE void AddValues(const typename S::Shared& shared, typename S::Registers& r) {
  const float* weights = shared.sums.weights + RowThread() * S::kKeyPitch;
  const unsigned column = KeyThread();
  // Threads without a column of their own in the tail repeat the last one and do not write it.
  const unsigned tail = 64 * S::kQuads + column < kDim ? 64 * S::kQuads + column : kDim - 1;
  QWEN3VL_NO_UNROLL
  for (int key = 0; key < S::kKeySlice; key += 4) {
    Float4 w[S::kThreadRows];
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kThreadRows; ++i)
      w[i] = *reinterpret_cast<const Float4*>(weights + i * S::kRowThreads * S::kKeyPitch + key);
    QWEN3VL_UNROLL
    for (int n = 0; n < 4; ++n) {
      const float* v = shared.sums.v + (key + n) * kDim;
      float values[S::kThreadCols];
      QWEN3VL_UNROLL
      for (int c = 0; c < S::kQuads; ++c) {
        const Float4 x = *reinterpret_cast<const Float4*>(v + 64 * c + 4 * column);
        values[4 * c] = x.x, values[4 * c + 1] = x.y, values[4 * c + 2] = x.z, values[4 * c + 3] = x.w;
      }
      if constexpr (S::kTail) values[4 * S::kQuads] = v[tail];
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kThreadRows; ++i) {
        const float weight = n == 0 ? w[i].x : n == 1 ? w[i].y : n == 2 ? w[i].z : w[i].w;
        QWEN3VL_UNROLL
        for (int c = 0; c < S::kThreadCols; ++c) r.acc[i][c] = Fma(weight, values[c], r.acc[i][c]);
      }
    }
  }
}

// Writes the rows that exist: sums over total weight, and the two numbers the log-sum-exp is made of.
template <class S, int kDim>
QWEN3VL_DEVICE void WriteRows(const AttentionParams& p, unsigned first_row, unsigned batch,
                              const typename S::Shared& shared, const typename S::Registers& r) {
  const unsigned n_rows = p.q_len * (p.n_heads / p.n_kv_heads);
  const unsigned column = KeyThread();
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kThreadRows; ++i) {
    float sum = r.row_sum[i];
    QWEN3VL_UNROLL
    for (unsigned mask = 8; mask > 0; mask /= 2) sum += ShuffleXor(sum, mask);
    const unsigned local = RowThread() + i * S::kRowThreads;
    if (first_row + local >= n_rows) continue;
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    const unsigned long long row =
        static_cast<unsigned long long>(batch) * p.q_len * p.n_heads + shared.q_row[local];
    float* out = p.out + row * kDim;
    QWEN3VL_UNROLL
    for (int c = 0; c < S::kQuads; ++c)
      *reinterpret_cast<Float4*>(out + 64 * c + 4 * column) = {
          r.acc[i][4 * c] * inverse, r.acc[i][4 * c + 1] * inverse, r.acc[i][4 * c + 2] * inverse,
          r.acc[i][4 * c + 3] * inverse};
    if constexpr (S::kTail)
      if (64 * S::kQuads + column < kDim) out[64 * S::kQuads + column] = r.acc[i][4 * S::kQuads] * inverse;
    if (column == 0) {
      p.stats[row * 2] = r.row_max[i] * p.score_factor;
      p.stats[row * 2 + 1] = sum;
    }
  }
}

// Grid: x blocks of 64 rows (the last, which see most under a causal mask, start first), y kv heads, z batch.
template <int kDim, int kTile, KvFormat kFormat, ScoreType kScores>
QWEN3VL_DEVICE void Prefill(const AttentionParams& p) {
  using S = PrefillBlock<kDim, kTile, kScores>;
  QWEN3VL_SHARED(typename S::Shared, shared);
  const unsigned batch = BlockZ(), kv_head = BlockY();
  const unsigned first_row = (GridX() - 1 - BlockX()) * S::kRows;
  DescribeRows<S>(p, first_row, batch, kv_head, shared);
  Barrier();
  const auto k = RowsOf<kDim, kFormat>(p, p.k, p.k_scales, batch, kv_head);
  const auto v = RowsOf<kDim, kFormat>(p, p.v, p.v_scales, batch, kv_head);
  const float* q = p.q + static_cast<unsigned long long>(batch) * p.q_len * p.n_heads * kDim;
  const SeenRange first = shared.seen[0], last = shared.seen[S::kRows - 1];

  S::Scores::Begin(p, q, shared);
  typename S::Registers r;
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kThreadRows; ++i) {
    r.row_max[i] = NegativeInfinity();
    r.row_sum[i] = 0;
    QWEN3VL_UNROLL
    for (int c = 0; c < S::kThreadCols; ++c) r.acc[i][c] = 0;
  }
  QWEN3VL_NO_UNROLL
  for (unsigned tile = first.begin; tile < last.end; tile += kTile) {
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kThreadRows; ++i) {
      QWEN3VL_UNROLL
      for (int j = 0; j < S::kThreadKeys; ++j) r.scores[i][j] = 0;
    }
    S::Scores::Compute(p, q, k, tile, shared, r);
    if (tile < last.begin || tile + kTile > first.end) HideScores<S>(shared, tile, r);
    UpdateSoftmax<S>(p.score_factor, r);
    QWEN3VL_UNROLL
    for (int slice = 0; slice < kTile / S::kKeySlice; ++slice) {
      Barrier();
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kThreadRows; ++i) {
        float* weights = shared.sums.weights + (RowThread() + i * S::kRowThreads) * S::kKeyPitch;
        weights[KeyThread()] = r.scores[i][2 * slice];
        weights[KeyThread() + 16] = r.scores[i][2 * slice + 1];
      }
      FillKv<S::kThreads, S::kKeySlice, kDim / 8, kDim>(v, tile + slice * S::kKeySlice, p.kv_len - 1, 0,
                                                        shared.sums.v);
      Barrier();
      AddValues<S, kDim>(shared, r);
    }
  }
  WriteRows<S, kDim>(p, first_row, batch, shared, r);
}

}  // namespace qwen3vl::gpu
