// SPDX-License-Identifier: Apache-2.0
// Attention of few q rows, bound by the reading of K and V. Integer scores pay only where K is stored in 8
// bits; elsewhere rounding it would take longer than the products. The kv rows are split between blocks, so
// that a long cache fills all multiprocessors; a block serves four rows (the heads that share a kv head) with
// each byte it reads. A group of 8 or 16 lanes reads one key row, 8 columns a lane, and runs an online
// softmax of its own: no barrier in the loop. The groups' results meet once in shared memory, the splits' in
// Merge.
#pragma once

#include "attention/cuda/attention_params.h"
#include "attention/cuda/codes.cuh"
#include "attention/cuda/kv_rows.cuh"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

template <int kDim>
struct DecodeShape {
  static constexpr int kRows = kDecodeRows;
  static constexpr int kLanes = kDim <= 64 ? 8 : 16;  // of a group
  static constexpr int kGroups = kDecodeThreads / kLanes;
  static constexpr int kKeys = kLanes / kRows;  // of a group in a turn: then each lane ends with one score
  static constexpr int kUnits = kDim / 8;       // of 8 columns; lanes past them have q = 0 and write nothing
  static_assert(kDim % 8 == 0 && kUnits <= kLanes && kWarp % kLanes == 0);

  struct alignas(16) Shared {
    float acc[kGroups][kRows][kDim];
    float row_max[kGroups][kRows];
    float row_sum[kGroups][kRows];
  };
  static_assert(sizeof(Shared) <= 48 * 1024, "a block of compute capability 6.1 has no more");
};

// Sums values[i] over the lanes of a group so that lane i of the group gets the sum of index i: kLanes - 1
// shuffles, where a sum of each by itself would take kLanes * log2(kLanes).
template <int kHalf, int kLanes>
QWEN3VL_DEVICE float SumTransposed(float (&values)[kLanes]) {
  const bool upper = (ThreadIndex() & kHalf) != 0;
  QWEN3VL_UNROLL
  for (int i = 0; i < kHalf; ++i) {
    const float keep = Select(upper, values[i + kHalf], values[i]);
    const float give = Select(upper, values[i], values[i + kHalf]);
    values[i] = keep + ShuffleXor(give, kHalf);
  }
  if constexpr (kHalf > 1)
    return SumTransposed<kHalf / 2>(values);
  else
    return values[0];
}

QWEN3VL_DEVICE float Dot8(const Float8& a, const Float8& b) {
  float sum = 0;
  QWEN3VL_UNROLL
  for (int d = 0; d < 8; ++d) sum = Fma(a.v[d], b.v[d], sum);
  return sum;
}

QWEN3VL_DEVICE float Dot8(const Codes8& a, const Codes8& b) {
  return SumOf(Dp4a(a.codes.x, b.codes.x, Dp4a(a.codes.y, b.codes.y, kWholeBits))) * (a.scale * b.scale);
}

// The block's rows as a thread knows them. Rows past the end repeat the last one.
template <class S>
struct DecodeRows {
  Float8 q[S::kRows];   // the thread's 8 columns, with the sign of the scale
  SeenRange own;        // of row lane % kRows
  unsigned begin, end;  // what any of the rows sees
};

template <class S, int kDim>
QWEN3VL_DEVICE DecodeRows<S> LoadRows(const AttentionParams& p, unsigned first_row, unsigned lane) {
  const unsigned group = p.n_heads / p.n_kv_heads, n_rows = p.q_len * group;
  const unsigned unit = lane < S::kUnits ? lane : S::kUnits - 1;
  const float factor = lane < S::kUnits ? p.q_sign : 0.0f;
  DecodeRows<S> rows{};
  QWEN3VL_UNROLL
  for (int i = 0; i < S::kRows; ++i) {
    const unsigned row = first_row + i < n_rows ? first_row + i : n_rows - 1;
    const unsigned long long token = static_cast<unsigned long long>(BlockZ()) * p.q_len + row / group;
    const unsigned head = BlockY() * group + row % group;
    const Float4* at = reinterpret_cast<const Float4*>(p.q + (token * p.n_heads + head) * kDim + unit * 8);
    const Float4 a = at[0], b = at[1];
    rows.q[i] = {{a.x * factor, a.y * factor, a.z * factor, a.w * factor, b.x * factor, b.y * factor,
                  b.z * factor, b.w * factor}};
    const SeenRange seen = p.seen[token];
    if (i == 0) rows.begin = seen.begin;
    if (i == static_cast<int>(lane % S::kRows)) rows.own = seen;
    rows.end = seen.end;
  }
  return rows;
}

// The online softmax of one group of lanes: sums of its rows in registers, 8 columns a lane.
template <class S>
struct DecodeSums {
  Float8 acc[S::kRows];
  float row_max, row_sum;  // of row lane % kRows; row_sum of the lane's own keys

  // Takes in kKeys keys. `score`: of key lane / kRows and row lane % kRows.
  QWEN3VL_DEVICE void Add(float score, float factor, const Float8 (&values)[S::kKeys], unsigned group_lane) {
    float new_max = Max(row_max, score);
    QWEN3VL_UNROLL
    for (unsigned mask = S::kLanes / 2; mask >= S::kRows; mask /= 2)
      new_max = Max(new_max, ShuffleXor(new_max, mask));
    // Nothing seen so far: any finite value will do, and gives no inf - inf.
    const float base = new_max == NegativeInfinity() ? 0.0f : new_max;
    const float correction = Exp2((row_max - base) * factor), weight = Exp2((score - base) * factor);
    row_max = new_max;
    row_sum = Fma(row_sum, correction, weight);
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kRows; ++i) {
      const float row_correction = ShuffleFrom(correction, group_lane + i);
      QWEN3VL_UNROLL
      for (int d = 0; d < 8; ++d) acc[i].v[d] *= row_correction;
    }
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kKeys; ++j) {
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kRows; ++i) {
        const float key_weight = ShuffleFrom(weight, group_lane + j * S::kRows + i);
        QWEN3VL_UNROLL
        for (int d = 0; d < 8; ++d) acc[i].v[d] = Fma(key_weight, values[j].v[d], acc[i].v[d]);
      }
    }
  }

  QWEN3VL_DEVICE void Store(unsigned group, unsigned lane, float factor, typename S::Shared& shared) {
    QWEN3VL_UNROLL
    for (unsigned mask = S::kLanes / 2; mask >= S::kRows; mask /= 2) row_sum += ShuffleXor(row_sum, mask);
    if (lane < S::kRows) {
      shared.row_max[group][lane] = row_max * factor;
      shared.row_sum[group][lane] = row_sum;
    }
    if (lane >= S::kUnits) return;
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kRows; ++i) {
      Float4* to = reinterpret_cast<Float4*>(&shared.acc[group][i][lane * 8]);
      to[0] = {acc[i].v[0], acc[i].v[1], acc[i].v[2], acc[i].v[3]};
      to[1] = {acc[i].v[4], acc[i].v[5], acc[i].v[6], acc[i].v[7]};
    }
  }
};

// Joins the groups of a block and writes the split's part of its rows.
template <class S, int kDim>
QWEN3VL_DEVICE void JoinGroups(const AttentionParams& p, const typename S::Shared& shared, unsigned split,
                               unsigned first_row) {
  const unsigned n_rows = p.q_len * (p.n_heads / p.n_kv_heads);
  const unsigned long long part =
      (static_cast<unsigned long long>(BlockZ()) * p.n_kv_heads + BlockY()) * p.splits + split;
  QWEN3VL_NO_UNROLL
  for (unsigned e = ThreadIndex(); e < S::kRows * kDim; e += kDecodeThreads) {
    const unsigned row = e / kDim, column = e % kDim;
    if (first_row + row >= n_rows) break;
    float row_max = NegativeInfinity(), row_sum = 0, sum = 0;
    QWEN3VL_UNROLL
    for (int g = 0; g < S::kGroups; ++g) row_max = Max(row_max, shared.row_max[g][row]);
    const float base = row_max == NegativeInfinity() ? 0.0f : row_max;
    QWEN3VL_UNROLL
    for (int g = 0; g < S::kGroups; ++g) {
      const float weight = Exp2(shared.row_max[g][row] - base);
      row_sum = Fma(weight, shared.row_sum[g][row], row_sum);
      sum = Fma(weight, shared.acc[g][row][column], sum);
    }
    const unsigned long long to = part * n_rows + first_row + row;
    p.partial[to * kDim + column] = sum;
    if (column == 0) {
      p.partial_stats[to * 2] = row_max;
      p.partial_stats[to * 2 + 1] = row_sum;
    }
  }
}

// Grid: x splits times blocks of four rows, y kv heads, z batch.
template <int kDim, KvFormat kFormat, ScoreType kScores>
QWEN3VL_DEVICE void Decode(const AttentionParams& p) {
  using S = DecodeShape<kDim>;
  QWEN3VL_SHARED(typename S::Shared, shared);
  const unsigned split = BlockX() % p.splits, first_row = BlockX() / p.splits * S::kRows;
  const unsigned lane = ThreadIndex() % S::kLanes, group = ThreadIndex() / S::kLanes;
  const unsigned group_lane = ThreadIndex() % kWarp - lane;  // the group's first lane in its warp
  const unsigned unit = lane < S::kUnits ? lane : S::kUnits - 1;
  const auto k = RowsOf<kDim, kFormat>(p, p.k, p.k_scales, BlockZ(), BlockY());
  const auto v = RowsOf<kDim, kFormat>(p, p.v, p.v_scales, BlockZ(), BlockY());
  const DecodeRows<S> rows = LoadRows<S, kDim>(p, first_row, lane);
  constexpr bool kCodes = kScores == ScoreType::kInt8 && kFormat == KvFormat::kQ8_0;
  Codes8 q_codes[S::kRows];
  if constexpr (kCodes) {
    QWEN3VL_UNROLL
    for (int i = 0; i < S::kRows; ++i) q_codes[i] = Quantize(rows.q[i]);
  }

  const unsigned split_begin = split * p.split_rows;
  const unsigned split_end = p.kv_len - split_begin < p.split_rows ? p.kv_len : split_begin + p.split_rows;
  const unsigned begin = split_begin > rows.begin ? split_begin : rows.begin;
  const unsigned end = split_end < rows.end ? split_end : rows.end;

  DecodeSums<S> sums{};
  sums.row_max = NegativeInfinity();
  QWEN3VL_NO_UNROLL
  for (unsigned turn = begin; turn < end; turn += S::kGroups * S::kKeys) {
    float scores[S::kLanes];
    Float8 values[S::kKeys];
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kKeys; ++j) {
      const unsigned key = turn + j * S::kGroups + group;
      const unsigned from = key < p.kv_len ? key : p.kv_len - 1;
      values[j] = v.Load(from, unit);
      if constexpr (kCodes) {
        const Codes8 x = k.Codes(from, unit);
        QWEN3VL_UNROLL
        for (int i = 0; i < S::kRows; ++i) scores[j * S::kRows + i] = Dot8(q_codes[i], x);
      } else {
        const Float8 x = k.Load(from, unit);
        QWEN3VL_UNROLL
        for (int i = 0; i < S::kRows; ++i) scores[j * S::kRows + i] = Dot8(rows.q[i], x);
      }
    }
    float score = SumTransposed<S::kLanes / 2>(scores);
    const unsigned key = turn + lane / S::kRows * S::kGroups + group;
    if (key < rows.own.begin || key >= rows.own.end || key >= end) score = NegativeInfinity();
    sums.Add(score, p.score_factor, values, group_lane);
  }
  sums.Store(group, lane, p.score_factor, shared);
  Barrier();
  JoinGroups<S, kDim>(p, shared, split, first_row);
}

// Joins the splits of a row. Grid: x rows of a kv head, y kv heads, z batch.
template <int kDim>
QWEN3VL_DEVICE void Merge(const AttentionParams& p) {
  const unsigned group = p.n_heads / p.n_kv_heads, n_rows = p.q_len * group;
  const unsigned column = ThreadIndex();
  if (column >= kDim) return;
  const unsigned long long first =
      (static_cast<unsigned long long>(BlockZ()) * p.n_kv_heads + BlockY()) * p.splits * n_rows + BlockX();
  float row_max = NegativeInfinity(), row_sum = 0, sum = 0;
  QWEN3VL_NO_UNROLL
  for (unsigned s = 0; s < p.splits; ++s)
    row_max = Max(row_max, p.partial_stats[(first + static_cast<unsigned long long>(s) * n_rows) * 2]);
  const float base = row_max == NegativeInfinity() ? 0.0f : row_max;
  QWEN3VL_NO_UNROLL
  for (unsigned s = 0; s < p.splits; ++s) {
    const unsigned long long part = first + static_cast<unsigned long long>(s) * n_rows;
    const float weight = Exp2(p.partial_stats[part * 2] - base);
    row_sum = Fma(weight, p.partial_stats[part * 2 + 1], row_sum);
    sum = Fma(weight, p.partial[part * kDim + column], sum);
  }
  const unsigned long long token = static_cast<unsigned long long>(BlockZ()) * p.q_len + BlockX() / group;
  const unsigned long long row = token * p.n_heads + BlockY() * group + BlockX() % group;
  p.out[row * kDim + column] = row_sum == 0.0f ? 0.0f : sum / row_sum;
  if (column == 0) {
    p.stats[row * 2] = row_max;
    p.stats[row * 2 + 1] = row_sum;
  }
}

}  // namespace qwen3vl::gpu
