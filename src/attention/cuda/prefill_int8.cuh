// SPDX-License-Identifier: Apache-2.0
// Scores of a prefill block from q and k in 8 bits (codes.cuh). The codes of q stay in shared memory for all
// tiles; those of k come in slices of whole blocks of 32 columns. A row takes an odd number of 16 bytes,
// which spreads 16-byte reads over all banks.
#pragma once

#include "attention/cuda/attention_params.h"
#include "attention/cuda/codes.cuh"
#include "attention/cuda/prefill_shape.cuh"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

// Words of a shared row that holds this many.
constexpr int OddPitch(int words) { return ((words + 3) / 4 | 1) * 4; }

template <int kDim, int kTile>
class Int8Scores {
  using S = PrefillShape<kDim, kTile>;
  static constexpr int kBlocks = (kDim + 31) / 32;  // the last may be narrower
  static constexpr int kLastWords = kDim % 32 == 0 ? 8 : kDim % 32 / 4;
  static constexpr bool kNarrow = kLastWords < 8;
  static constexpr int kSliceBlocks = kBlocks % 2 == 0 ? 2 : kBlocks;  // of k at a time
  static constexpr int kQPitch = OddPitch(kDim / 4);                   // words of four codes
  static constexpr int kKPitch = OddPitch((kSliceBlocks - 1) * 8 + kLastWords);
  static_assert(kBlocks == kSliceBlocks || !kNarrow, "a slice ends with a whole block, or with the row");

 public:
  struct Slices {
    unsigned k[kTile * kKPitch];
    float k_scales[kSliceBlocks * kTile];
  };
  struct Kept {
    unsigned q[S::kRows * kQPitch];
    float q_scales[kBlocks * S::kRows];
  };

  // Rounds the block's q rows, with the sign of the scale.
  template <class Shared>
  static QWEN3VL_DEVICE void Begin(const AttentionParams& p, const float* q, Shared& shared) {
    constexpr int kUnits = kBlocks * 4;
    QWEN3VL_NO_UNROLL
    for (int n = 0; n < S::kRows * kUnits / S::kThreads; ++n) {
      const unsigned e = ThreadIndex() + n * S::kThreads;
      const unsigned row = e / kUnits, unit = e % kUnits;
      const bool exists = unit < kDim / 8;
      const unsigned long long at =
          static_cast<unsigned long long>(shared.q_row[row]) * kDim + (exists ? unit : kDim / 8 - 1) * 8;
      const Float4 a = reinterpret_cast<const Float4*>(q + at)[0],
                   b = reinterpret_cast<const Float4*>(q + at)[1];
      const float sign = p.q_sign;
      const Float8 x = {
          {a.x * sign, a.y * sign, a.z * sign, a.w * sign, b.x * sign, b.y * sign, b.z * sign, b.w * sign}};
      const Codes8 c = Quantize(x);
      if (exists) *reinterpret_cast<Word2*>(&shared.q[row * kQPitch + unit * 2]) = c.codes;
      if (unit % 4 == 0) shared.q_scales[unit / 4 * S::kRows + row] = c.scale;
    }
  }

  // r.scores = q k^T of the tile that begins at row `tile` of k.
  template <class Rows, class Shared>
  static QWEN3VL_DEVICE void Compute(const AttentionParams& p, const float*, const Rows& k, unsigned tile,
                                     Shared& shared, typename S::Registers& r) {
    QWEN3VL_NO_UNROLL
    for (int block = 0; block < kBlocks; block += kSliceBlocks) {
      Barrier();
      FillK(k, tile, p.kv_len - 1, block * 4, shared);
      Barrier();
      QWEN3VL_NO_UNROLL
      for (int b = 0; b < kSliceBlocks - kNarrow; ++b) AddBlock<8>(shared, block, b, p.kv_len >> 31, r);
      if constexpr (kNarrow) AddBlock<kLastWords>(shared, block, kSliceBlocks - 1, p.kv_len >> 31, r);
    }
  }

 private:
  // The blocks from unit `first_unit` on, of the tile's rows.
  template <class Rows, class Shared>
  static QWEN3VL_DEVICE void FillK(const Rows& k, unsigned first_row, unsigned last_row, unsigned first_unit,
                                   Shared& shared) {
    constexpr int kUnits = kSliceBlocks * 4;
    QWEN3VL_UNROLL_2
    for (int n = 0; n < kTile * kUnits / S::kThreads; ++n) {
      const unsigned e = ThreadIndex() + n * S::kThreads;
      const unsigned row = e / kUnits, unit = e % kUnits;
      const unsigned from = first_row + row < last_row ? first_row + row : last_row;
      const Codes8 c = LoadCodes(k, from, first_unit + unit);
      if (first_unit + unit < kDim / 8)
        *reinterpret_cast<Word2*>(&shared.scores.k[row * kKPitch + unit * 2]) = c.codes;
      if (unit % 4 == 0) shared.scores.k_scales[unit / 4 * kTile + row] = c.scale;
    }
  }

  template <int kWords>
  static QWEN3VL_DEVICE void LoadWords(const unsigned* at, unsigned (&words)[kWords]) {
    QWEN3VL_UNROLL
    for (int w = 0; w < kWords; w += 4) {
      if constexpr (kWords % 4 == 0) {
        const Word4 x = *reinterpret_cast<const Word4*>(at + w);
        words[w] = x.x, words[w + 1] = x.y, words[w + 2] = x.z, words[w + 3] = x.w;
      } else {
        const Word2 x = *reinterpret_cast<const Word2*>(at);
        words[0] = x.x, words[1] = x.y;
      }
    }
  }

  // scores += one block of 4 * kWords columns: block `slice + b` of q, `b` of the slice of k. Four rows of q
  // at a time, for which k is read again: all eight, or k kept for the second four, would not fit the
  // registers. `zero`, which no compiler knows to be 0, keeps it from being kept.
  template <int kWords, class Shared>
  static QWEN3VL_DEVICE void AddBlock(const Shared& shared, int slice, int b, unsigned zero,
                                      typename S::Registers& r) {
    QWEN3VL_UNROLL
    for (int first = 0; first < S::kThreadRows; first += 4)
      AddRows<kWords>(shared, slice + b, b, first, first / 4 * zero, r);
  }

  template <int kWords, class Shared>
  static QWEN3VL_DEVICE void AddRows(const Shared& shared, int q_block, int k_block, int first, unsigned zero,
                                     typename S::Registers& r) {
    unsigned q[4][kWords];
    float q_scales[4];
    QWEN3VL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const unsigned row = RowThread() + (first + i) * S::kRowThreads;
      LoadWords(&shared.q[row * kQPitch + q_block * 8], q[i]);
      q_scales[i] = shared.q_scales[q_block * S::kRows + row];
    }
    QWEN3VL_UNROLL
    for (int j = 0; j < S::kThreadKeys; ++j) {
      const unsigned key = KeyThread() + 16 * j + zero;
      unsigned k[kWords];
      LoadWords(&shared.scores.k[key * kKPitch + k_block * 8], k);
      const float k_scale = shared.scores.k_scales[k_block * kTile + key];
      QWEN3VL_UNROLL
      for (int i = 0; i < 4; ++i) {
        unsigned sum = kWholeBits;
        QWEN3VL_UNROLL
        for (int w = 0; w < kWords; ++w) sum = Dp4a(q[i][w], k[w], sum);
        float& score = r.scores[first + i][j];
        score = Fma(SumOf(sum), q_scales[i] * k_scale, score);
      }
    }
  }
};

}  // namespace qwen3vl::gpu
