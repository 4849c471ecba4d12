// SPDX-License-Identifier: Apache-2.0
// y = x W^T + b. Few rows of x: a warp streams each row of weights, bound by the reading of it. Many: a block
// owns 64 x 64 of y, 4 x 4 a thread, and stages slices of 128 codes or 32 floats of both in shared memory.
// Codes are multiplied by DP4A, four products an instruction, and the sum of each group becomes a float in
// one instruction: it is begun at the bits of 1.5 * 2^23, where whole numbers are one unit in the last place.
#pragma once

#include "hw/device_dialect.cuh"
#include "qwen3vl/cuda/layer_params.h"
#include "qwen3vl/cuda/weight_codes.cuh"

namespace qwen3vl::gpu {

constexpr unsigned kSumBits = 0x4b400000;  // of kSumStart
constexpr float kSumStart = 12582912.0f;

QWEN3VL_DEVICE unsigned Dot16(const Word4& a, const Word4& b, unsigned sum) {
  sum = Dp4a(a.x, b.x, sum);
  sum = Dp4a(a.y, b.y, sum);
  sum = Dp4a(a.z, b.z, sum);
  return Dp4a(a.w, b.w, sum);
}

// sum += the group's products with row `token` of x.
template <WeightFormat kFormat>
QWEN3VL_DEVICE float AddGroup(const ProductParams& p, const CodeGroup& g, unsigned block, unsigned token,
                              float sum) {
  const unsigned long long at =
      (static_cast<unsigned long long>(token) * p.blocks + block) * kBlockCols + g.column;
  const Word4 q = LoadWords(p.q + at / 4);
  const unsigned dot = Dot16(g.codes, q, kSumBits);
  sum = Fma(g.scale * p.scales[at / 32], FloatOf(dot) - kSumStart, sum);
  if constexpr (kHasMin<kFormat>) sum = Fma(-g.min, p.sums[at / 16], sum);
  return sum;
}

// Sums of one lane's part of a row of weights with kTokens rows of x; those past the end repeat the last.
template <WeightFormat kFormat, int kTokens>
QWEN3VL_DEVICE void DotLane(const ProductParams& p, const unsigned char* weights, float (&sums)[kTokens]) {
  const unsigned lane = ThreadIndex() % kWarp;
  if constexpr (kHasCodes<kFormat>) {
    QWEN3VL_NO_UNROLL
    for (unsigned u = lane; u < p.blocks * 8; u += kWarp) {
      const CodeUnit unit = LoadUnit<kFormat>(weights, p.blocks, u / 8, u % 8);
      QWEN3VL_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const unsigned token = t < static_cast<int>(p.n) ? t : p.n - 1;
        sums[t] = AddGroup<kFormat>(p, unit.a, u / 8, token, sums[t]);
        sums[t] = AddGroup<kFormat>(p, unit.b, u / 8, token, sums[t]);
      }
    }
  } else {
    QWEN3VL_NO_UNROLL
    for (unsigned c = lane * 8; c < p.cols; c += kWarp * 8) {
      const Float8 w = LoadFloats<kFormat>(weights, c);
      QWEN3VL_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const unsigned token = t < static_cast<int>(p.n) ? t : p.n - 1;
        const Float4* x =
            reinterpret_cast<const Float4*>(p.x + static_cast<unsigned long long>(token) * p.cols + c);
        const Float4 a = x[0], b = x[1];
        float s = sums[t];
        s = Fma(w.v[0], a.x, s), s = Fma(w.v[1], a.y, s), s = Fma(w.v[2], a.z, s), s = Fma(w.v[3], a.w, s);
        s = Fma(w.v[4], b.x, s), s = Fma(w.v[5], b.y, s), s = Fma(w.v[6], b.z, s), s = Fma(w.v[7], b.w, s);
        sums[t] = s;
      }
    }
  }
}

// A value of y: the sum of its products joins what is there.
QWEN3VL_DEVICE void WriteValue(const ProductParams& p, unsigned token, unsigned row, float sum) {
  float* y = p.y + static_cast<unsigned long long>(token) * p.rows + row;
  if (p.bias) sum += p.bias[row];
  *y = p.accumulate ? *y + sum : sum;
}

template <WeightFormat kFormat, int kTokens>
QWEN3VL_DEVICE void DotProduct(const ProductParams& p) {
  const unsigned row = BlockX() * kDotRows + ThreadIndex() / kWarp;
  if (row >= p.rows) return;
  const unsigned char* weights =
      static_cast<const unsigned char*>(p.weights) + static_cast<unsigned long long>(row) * p.row_bytes;
  float sums[kTokens] = {};
  DotLane<kFormat, kTokens>(p, weights, sums);
  QWEN3VL_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    float sum = sums[t];
    QWEN3VL_UNROLL
    for (unsigned mask = kWarp / 2; mask > 0; mask /= 2) sum += ShuffleXor(sum, mask);
    if (ThreadIndex() % kWarp != 0 || t >= static_cast<int>(p.n)) continue;
    WriteValue(p, t, row, sum);
  }
}

template <WeightFormat kFormat>
struct CodeTile {
  static constexpr unsigned kCols = 128;             // of a slice: half a block
  static constexpr unsigned kPitch = kCols / 4 + 4;  // words; spreads 16-byte reads over all banks
  static constexpr unsigned kSub = kSubBlock<kFormat>;
  static constexpr unsigned kSubs = kCols / kSub;
  static constexpr unsigned kSubPitch = kSubs + 1;
  struct alignas(16) Shared {
    unsigned x[kTileRows * kPitch];
    unsigned w[kTileRows * kPitch];
    float x_scale[kTileRows * kSubPitch], x_sum[kTileRows * kSubPitch];
    float w_scale[kTileRows * kSubPitch], w_min[kTileRows * kSubPitch];
  };
  static_assert(sizeof(Shared) <= 48 * 1024, "a block of compute capability 6.1 has no more");
};

template <WeightFormat kFormat>
QWEN3VL_DEVICE void StoreGroup(const CodeGroup& g, unsigned row, typename CodeTile<kFormat>::Shared& shared) {
  using T = CodeTile<kFormat>;
  const unsigned column = g.column % T::kCols;
  *reinterpret_cast<Word4*>(&shared.w[row * T::kPitch + column / 4]) = g.codes;
  if (column % T::kSub != 0) return;
  shared.w_scale[row * T::kSubPitch + column / T::kSub] = g.scale;
  shared.w_min[row * T::kSubPitch + column / T::kSub] = g.min;
}

// The rows of x and y that a block is on, one after the other; of x those past the end repeat the last one.
struct TokenRows {
  unsigned first, n;
  QWEN3VL_DEVICE unsigned OfX(unsigned local) const { return Exists(local) ? first + local : n - 1; }
  QWEN3VL_DEVICE unsigned OfY(unsigned local) const { return first + local; }
  QWEN3VL_DEVICE bool Exists(unsigned local) const { return first + local < n; }
};

// Slice `slice` of the block's rows of x, of which this thread brings two, and of weights, of which those
// past the end repeat the last one.
template <WeightFormat kFormat>
QWEN3VL_DEVICE void FillCodes(const ProductParams& p, unsigned slice, const unsigned (&x_rows)[2],
                              typename CodeTile<kFormat>::Shared& shared) {
  using T = CodeTile<kFormat>;
  const unsigned t = ThreadIndex();
  {
    const unsigned row = BlockX() * kTileRows + t / 4;
    const unsigned char* weights =
        static_cast<const unsigned char*>(p.weights) +
        static_cast<unsigned long long>(row < p.rows ? row : p.rows - 1) * p.row_bytes;
    const CodeUnit unit = LoadUnit<kFormat>(weights, p.blocks, slice / 2, slice % 2 * 4 + t % 4);
    StoreGroup<kFormat>(unit.a, t / 4, shared);
    StoreGroup<kFormat>(unit.b, t / 4, shared);
  }
  QWEN3VL_UNROLL
  for (unsigned n = 0; n < 2; ++n) {
    const unsigned local = t / 8 + n * 32, part = t % 8;  // 16 columns
    const unsigned long long at =
        (static_cast<unsigned long long>(x_rows[n]) * p.blocks * 2 + slice) * T::kCols + part * 16;
    *reinterpret_cast<Word4*>(&shared.x[local * T::kPitch + part * 4]) = LoadWords(p.q + at / 4);
    if (part * 16 % T::kSub != 0) continue;
    const unsigned sub = local * T::kSubPitch + part * 16 / T::kSub;
    shared.x_scale[sub] = p.scales[at / 32];
    if constexpr (T::kSub == 32)
      shared.x_sum[sub] = p.sums[at / 16] + p.sums[at / 16 + 1];
    else
      shared.x_sum[sub] = p.sums[at / 16];
  }
}

// sums[i][j]: row thread / 16 + 16 i of x, row thread % 16 + 16 j of weights.
template <WeightFormat kFormat>
QWEN3VL_DEVICE void MultiplyCodes(const typename CodeTile<kFormat>::Shared& shared, float (&sums)[4][4]) {
  using T = CodeTile<kFormat>;
  const unsigned ty = ThreadIndex() / 16, tx = ThreadIndex() % 16;
  QWEN3VL_NO_UNROLL
  for (unsigned sub = 0; sub < T::kSubs; ++sub) {
    unsigned dots[4][4];
    QWEN3VL_UNROLL
    for (int i = 0; i < 4; ++i) {
      QWEN3VL_UNROLL
      for (int j = 0; j < 4; ++j) dots[i][j] = kSumBits;
    }
    QWEN3VL_UNROLL
    for (unsigned part = 0; part < T::kSub / 16; ++part) {
      const unsigned word = sub * (T::kSub / 4) + part * 4;
      Word4 x[4];
      QWEN3VL_UNROLL
      for (int i = 0; i < 4; ++i)
        x[i] = *reinterpret_cast<const Word4*>(&shared.x[(ty + 16 * i) * T::kPitch + word]);
      QWEN3VL_UNROLL
      for (int j = 0; j < 4; ++j) {
        const Word4 w = *reinterpret_cast<const Word4*>(&shared.w[(tx + 16 * j) * T::kPitch + word]);
        QWEN3VL_UNROLL
        for (int i = 0; i < 4; ++i) dots[i][j] = Dot16(w, x[i], dots[i][j]);
      }
    }
    float x_scale[4], x_sum[4];
    QWEN3VL_UNROLL
    for (int i = 0; i < 4; ++i) {
      x_scale[i] = shared.x_scale[(ty + 16 * i) * T::kSubPitch + sub];
      x_sum[i] = shared.x_sum[(ty + 16 * i) * T::kSubPitch + sub];
    }
    QWEN3VL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const float scale = shared.w_scale[(tx + 16 * j) * T::kSubPitch + sub];
      const float min = shared.w_min[(tx + 16 * j) * T::kSubPitch + sub];
      QWEN3VL_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float dot = FloatOf(dots[i][j]) - kSumStart;
        sums[i][j] = Fma(scale * x_scale[i], dot, sums[i][j]);
        if constexpr (kHasMin<kFormat>) sums[i][j] = Fma(-min, x_sum[i], sums[i][j]);
      }
    }
  }
}

struct FloatTile {
  static constexpr unsigned kCols = 32;  // of a slice
  static constexpr unsigned kPitch = kCols + 4;
  struct alignas(16) Shared {
    float x[kTileRows * kPitch];
    float w[kTileRows * kPitch];
  };
};

// As FillCodes; columns past the end are zeros.
template <WeightFormat kFormat>
QWEN3VL_DEVICE void FillFloats(const ProductParams& p, unsigned slice, unsigned x_row,
                               FloatTile::Shared& shared) {
  const unsigned local = ThreadIndex() / 4, column = slice * FloatTile::kCols + ThreadIndex() % 4 * 8;
  const bool exists = column < p.cols;
  const unsigned from = exists ? column : 0;
  const unsigned w_row = BlockX() * kTileRows + local;
  const Float8 w = LoadFloats<kFormat>(
      static_cast<const unsigned char*>(p.weights) +
          static_cast<unsigned long long>(w_row < p.rows ? w_row : p.rows - 1) * p.row_bytes,
      from);
  const Float8 x = LoadFloats<WeightFormat::kF32>(
      reinterpret_cast<const unsigned char*>(p.x + static_cast<unsigned long long>(x_row) * p.cols), from);
  const unsigned at = local * FloatTile::kPitch + ThreadIndex() % 4 * 8;
  QWEN3VL_UNROLL
  for (int i = 0; i < 8; i += 4) {
    *reinterpret_cast<Float4*>(&shared.w[at + i]) = {w.v[i], w.v[i + 1], w.v[i + 2], w.v[i + 3]};
    *reinterpret_cast<Float4*>(&shared.x[at + i]) = {
        Select(exists, x.v[i], 0.0f), Select(exists, x.v[i + 1], 0.0f), Select(exists, x.v[i + 2], 0.0f),
        Select(exists, x.v[i + 3], 0.0f)};
  }
}

QWEN3VL_DEVICE void MultiplyFloats(const FloatTile::Shared& shared, float (&sums)[4][4]) {
  const unsigned ty = ThreadIndex() / 16, tx = ThreadIndex() % 16;
  QWEN3VL_NO_UNROLL
  for (unsigned c = 0; c < FloatTile::kCols; c += 4) {
    Float4 x[4];
    QWEN3VL_UNROLL
    for (int i = 0; i < 4; ++i)
      x[i] = *reinterpret_cast<const Float4*>(&shared.x[(ty + 16 * i) * FloatTile::kPitch + c]);
    QWEN3VL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const Float4 w = *reinterpret_cast<const Float4*>(&shared.w[(tx + 16 * j) * FloatTile::kPitch + c]);
      QWEN3VL_UNROLL
      for (int i = 0; i < 4; ++i) {
        float& s = sums[i][j];
        s = Fma(w.x, x[i].x, s), s = Fma(w.y, x[i].y, s), s = Fma(w.z, x[i].z, s), s = Fma(w.w, x[i].w, s);
      }
    }
  }
}

template <class Rows>
QWEN3VL_DEVICE void WriteTile(const ProductParams& p, const Rows& rows, const float (&sums)[4][4]) {
  QWEN3VL_UNROLL
  for (int i = 0; i < 4; ++i) {
    const unsigned local = ThreadIndex() / 16 + 16 * i;
    if (!rows.Exists(local)) continue;
    const unsigned token = rows.OfY(local);
    QWEN3VL_UNROLL
    for (int j = 0; j < 4; ++j) {
      const unsigned row = BlockX() * kTileRows + ThreadIndex() % 16 + 16 * j;
      if (row >= p.rows) continue;
      WriteValue(p, token, row, sums[i][j]);
    }
  }
}

// kTileRows rows of weights and of x, `rows` of which (TokenRows, PairRows).
template <WeightFormat kFormat, class Rows>
QWEN3VL_DEVICE void MultiplyTile(const ProductParams& p, const Rows& rows) {
  float sums[4][4] = {};
  if constexpr (kHasCodes<kFormat>) {
    QWEN3VL_SHARED(typename CodeTile<kFormat>::Shared, shared);
    const unsigned local = ThreadIndex() / 8;
    const unsigned x_rows[2] = {rows.OfX(local), rows.OfX(local + 32)};
    QWEN3VL_NO_UNROLL
    for (unsigned slice = 0; slice < p.blocks * 2; ++slice) {
      Barrier();
      FillCodes<kFormat>(p, slice, x_rows, shared);
      Barrier();
      MultiplyCodes<kFormat>(shared, sums);
    }
  } else {
    QWEN3VL_SHARED(FloatTile::Shared, shared);
    const unsigned x_row = rows.OfX(ThreadIndex() / 4);
    QWEN3VL_NO_UNROLL
    for (unsigned slice = 0; slice * FloatTile::kCols < p.cols; ++slice) {
      Barrier();
      FillFloats<kFormat>(p, slice, x_row, shared);
      Barrier();
      MultiplyFloats(shared, sums);
    }
  }
  WriteTile(p, rows, sums);
}

template <WeightFormat kFormat>
QWEN3VL_DEVICE void TileProduct(const ProductParams& p) {
  MultiplyTile<kFormat>(p, TokenRows{BlockY() * kTileRows, p.n});
}

}  // namespace qwen3vl::gpu
