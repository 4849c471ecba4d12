// SPDX-License-Identifier: Apache-2.0
// Attention of many q rows: tiled online softmax (FlashAttention, algorithm 1) in fp32 throughout, since
// compute capability 6.1 does fp16 arithmetic at 1/64 of that rate. A block owns 64 rows of one kv head and
// walks over tiles of keys. A thread owns kThreadRows x kThreadKeys scores and kThreadRows x kThreadCols sums
// in registers, so that each value read from shared memory takes part in 4 products or more (shared memory
// gives a quarter of a word per multiply-add there).
//
// Shared memory holds slices: of q and k along head_dim for the scores, of the weights and v along the keys
// for the sums; both use the same bytes. Slices have 4 floats of padding a row, which spreads 16-byte reads
// over all banks. Rows past the end are read from the last row and hidden by the mask: no read leaves its
// array, and no branch stands around a load.
#pragma once

#include "attention/cuda/attention_params.h"
#include "hw/device_dialect.cuh"
#include "attention/cuda/kv_rows.cuh"

namespace qwen3vl::gpu {

template <int kDim, int kTile>
struct PrefillShape {
  static constexpr int kRows = kPrefillRows;
  static constexpr int kThreads = kTile;
  static constexpr int kRowThreads = kThreads / 16;        // thread t: row thread t / 16, key thread t % 16
  static constexpr int kThreadRows = kRows / kRowThreads;  // rows row_thread + i * kRowThreads
  static constexpr int kThreadKeys = kTile / 16;           // keys key_thread + 16 * j
  static constexpr int kQuads = kDim / 64;       // columns 64 * c + 4 * key_thread + 0 .. 3, and, if
  static constexpr bool kTail = kDim % 64 != 0;  // any are left, 64 * kQuads + key_thread
  static constexpr int kThreadCols = 4 * kQuads + kTail;
  static constexpr int kSlice = kDim % 32 == 0   ? 32
                                : kDim % 24 == 0 ? 24
                                                 : 16;  // columns of q and k at a time
  static constexpr int kPitch = kSlice + 4;
  static constexpr int kKeySlice = 32;  // keys at a time of the weighted sums
  static constexpr int kKeyPitch = kKeySlice + 4;
  static_assert(kDim % kSlice == 0 && kDim % 8 == 0 && kDim >= 64 && kDim <= 128);
  static_assert(!kTail || kDim % 64 <= 16, "one more column a thread");
  static_assert(kTile == 128 || kTile == 256);

  struct ScoreSlices {
    float q[kRows * kPitch];
    float k[kTile * kPitch];
  };
  struct SumSlices {
    float weights[kRows * kKeyPitch];
    float v[kKeySlice * kDim];
  };
  struct alignas(16) Shared {
    union {
      ScoreSlices scores;
      SumSlices sums;
    };
    SeenRange seen[kRows];
    unsigned q_row[kRows];  // token * n_heads + head
  };
  static_assert(sizeof(Shared) <= 48 * 1024, "a block of compute capability 6.1 has no more");

  // What a thread keeps in registers.
  struct Registers {
    float scores[kThreadRows][kThreadKeys];
    float acc[kThreadRows][kThreadCols];
    float row_max[kThreadRows];
    float row_sum[kThreadRows];  // over the thread's own keys
  };
};

template <class S>
QWEN3VL_DEVICE unsigned RowThread() {
  return ThreadIndex() / 16;
}
QWEN3VL_DEVICE unsigned KeyThread() { return ThreadIndex() % 16; }

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

// Columns first .. first + kSlice - 1 of the block's q rows, with the sign of the scale.
template <class S, int kDim>
QWEN3VL_DEVICE void FillQ(const AttentionParams& p, const float* q, unsigned first,
                          typename S::Shared& shared) {
  constexpr int kUnits = S::kSlice / 4, kCount = S::kRows * kUnits;
  QWEN3VL_UNROLL_2  // all at once cost head_dim 72 registers it does not have
      for (int n = 0; n < (kCount + S::kThreads - 1) / S::kThreads; ++n) {
    const unsigned e = ThreadIndex() + n * S::kThreads;
    if (kCount % S::kThreads != 0 && e >= kCount) break;
    const unsigned row = e / kUnits, unit = e % kUnits;
    const unsigned long long at =
        static_cast<unsigned long long>(shared.q_row[row]) * kDim + first + unit * 4;
    Float4 x = *reinterpret_cast<const Float4*>(q + at);
    x.x *= p.q_sign, x.y *= p.q_sign, x.z *= p.q_sign, x.w *= p.q_sign;
    *reinterpret_cast<Float4*>(&shared.scores.q[row * S::kPitch + unit * 4]) = x;
  }
}

QWEN3VL_DEVICE void Store8(float* at, const Float8& x) {
  reinterpret_cast<Float4*>(at)[0] = {x.v[0], x.v[1], x.v[2], x.v[3]};
  reinterpret_cast<Float4*>(at)[1] = {x.v[4], x.v[5], x.v[6], x.v[7]};
}

// kRows rows from `first_row` on, kUnits * 8 columns from unit `first_unit` on, to rows of kPitch floats.
template <int kThreads, int kRows, int kUnits, int kPitch, class Rows>
QWEN3VL_DEVICE void FillKv(const Rows& rows, unsigned first_row, unsigned last_row, unsigned first_unit,
                           float* to) {
  constexpr int kCount = kRows * kUnits;
  QWEN3VL_UNROLL
  for (int n = 0; n < (kCount + kThreads - 1) / kThreads; ++n) {
    const unsigned e = ThreadIndex() + n * kThreads;
    if (kCount % kThreads != 0 && e >= kCount) break;
    const unsigned row = e / kUnits, unit = e % kUnits;
    const unsigned from = first_row + row < last_row ? first_row + row : last_row;
    Store8(to + row * kPitch + unit * 8, rows.Load(from, first_unit + unit));
  }
}

// scores += q k^T of the slice in shared memory.
template <class S>
QWEN3VL_DEVICE void AddScores(const typename S::Shared& shared, typename S::Registers& r) {
  const float* q = shared.scores.q + RowThread<S>() * S::kPitch;
  const float* k = shared.scores.k + KeyThread() * S::kPitch;
  QWEN3VL_NO_UNROLL
  for (int d = 0; d < S::kSlice; d += 4) {
    Float4 a[S::kThreadRows];
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kThreadRows; ++i)
      a[i] = *reinterpret_cast<const Float4*>(q + i * S::kRowThreads * S::kPitch + d);
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kThreadKeys; ++j) {
      const Float4 b = *reinterpret_cast<const Float4*>(k + j * 16 * S::kPitch + d);
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kThreadRows; ++i) {
        float& s = r.scores[i][j];
        s = Fma(a[i].x, b.x, s), s = Fma(a[i].y, b.y, s), s = Fma(a[i].z, b.z, s), s = Fma(a[i].w, b.w, s);
      }
    }
  }
}

// Scores of keys that a row does not see become -inf.
template <class S>
QWEN3VL_DEVICE void HideScores(const typename S::Shared& shared, unsigned tile_begin,
                               typename S::Registers& r) {
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kThreadRows; ++i) {
    const SeenRange seen = shared.seen[RowThread<S>() + i * S::kRowThreads];
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
  const float* weights = shared.sums.weights + RowThread<S>() * S::kKeyPitch;
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
    const unsigned local = RowThread<S>() + i * S::kRowThreads;
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
template <int kDim, int kTile, KvFormat kFormat>
QWEN3VL_DEVICE void Prefill(const AttentionParams& p) {
  using S = PrefillShape<kDim, kTile>;
  QWEN3VL_SHARED(typename S::Shared, shared);
  const unsigned batch = BlockZ(), kv_head = BlockY();
  const unsigned first_row = (GridX() - 1 - BlockX()) * S::kRows;
  DescribeRows<S>(p, first_row, batch, kv_head, shared);
  Barrier();
  const auto k = RowsOf<kDim, kFormat>(p, p.k, p.k_scales, batch, kv_head);
  const auto v = RowsOf<kDim, kFormat>(p, p.v, p.v_scales, batch, kv_head);
  const float* q = p.q + static_cast<unsigned long long>(batch) * p.q_len * p.n_heads * kDim;
  const SeenRange first = shared.seen[0], last = shared.seen[S::kRows - 1];

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
    QWEN3VL_NO_UNROLL
    for (int d = 0; d < kDim; d += S::kSlice) {
      Barrier();
      FillQ<S, kDim>(p, q, d, shared);
      FillKv<S::kThreads, kTile, S::kSlice / 8, S::kPitch>(k, tile, p.kv_len - 1, d / 8, shared.scores.k);
      Barrier();
      AddScores<S>(shared, r);
    }
    if (tile < last.begin || tile + kTile > first.end) HideScores<S>(shared, tile, r);
    UpdateSoftmax<S>(p.score_factor, r);
    QWEN3VL_UNROLL
    for (int slice = 0; slice < kTile / S::kKeySlice; ++slice) {
      Barrier();
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kThreadRows; ++i) {
        float* weights = shared.sums.weights + (RowThread<S>() + i * S::kRowThreads) * S::kKeyPitch;
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
