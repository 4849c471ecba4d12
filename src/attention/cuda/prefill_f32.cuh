// SPDX-License-Identifier: Apache-2.0
// Scores of a prefill block in fp32. q and k go through shared memory in slices along head_dim, whose rows
// have 4 floats of padding, which spreads 16-byte reads over all banks.
#pragma once

#include "attention/cuda/attention_params.h"
#include "attention/cuda/prefill_shape.cuh"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

template <int kDim, int kTile>
class F32Scores {
  using S = PrefillShape<kDim, kTile>;
  static constexpr int kSlice = kDim % 32 == 0   ? 32
                                : kDim % 24 == 0 ? 24
                                                 : 16;  // columns of q and k at a time
  static constexpr int kPitch = kSlice + 4;
  static_assert(kDim % kSlice == 0);

 public:
  struct Slices {
    float q[S::kRows * kPitch];
    float k[kTile * kPitch];
  };
  struct Kept {};  // in shared memory beyond a tile

  template <class Shared>
  static QWEN3VL_DEVICE void Begin(const AttentionParams&, const float*, Shared&) {}

  // r.scores = q k^T of the tile that begins at row `tile` of k, with the sign of the scale.
  template <class Rows, class Shared>
  static QWEN3VL_DEVICE void Compute(const AttentionParams& p, const float* q, const Rows& k, unsigned tile,
                                     Shared& shared, typename S::Registers& r) {
    QWEN3VL_NO_UNROLL
    for (int d = 0; d < kDim; d += kSlice) {
      Barrier();
      FillQ(p, q, d, shared);
      FillKv<S::kThreads, kTile, kSlice / 8, kPitch>(k, tile, p.kv_len - 1, d / 8, shared.scores.k);
      Barrier();
      AddSlice(shared, r);
    }
  }

 private:
  // Columns first .. first + kSlice - 1 of the block's q rows, with the sign of the scale.
  template <class Shared>
  static QWEN3VL_DEVICE void FillQ(const AttentionParams& p, const float* q, unsigned first, Shared& shared) {
    constexpr int kUnits = kSlice / 4, kCount = S::kRows * kUnits;
    QWEN3VL_UNROLL_2  // all at once cost head_dim 72 registers it does not have
        for (int n = 0; n < (kCount + S::kThreads - 1) / S::kThreads; ++n) {
      const unsigned e = ThreadIndex() + n * S::kThreads;
      if (kCount % S::kThreads != 0 && e >= kCount) break;
      const unsigned row = e / kUnits, unit = e % kUnits;
      const unsigned long long at =
          static_cast<unsigned long long>(shared.q_row[row]) * kDim + first + unit * 4;
      Float4 x = *reinterpret_cast<const Float4*>(q + at);
      x.x *= p.q_sign, x.y *= p.q_sign, x.z *= p.q_sign, x.w *= p.q_sign;
      *reinterpret_cast<Float4*>(&shared.scores.q[row * kPitch + unit * 4]) = x;
    }
  }

  // scores += q k^T of the slice in shared memory.
  template <class Shared>
  static QWEN3VL_DEVICE void AddSlice(const Shared& shared, typename S::Registers& r) {
    const float* q = shared.scores.q + RowThread() * kPitch;
    const float* k = shared.scores.k + KeyThread() * kPitch;
    QWEN3VL_NO_UNROLL
    for (int d = 0; d < kSlice; d += 4) {
      Float4 a[S::kThreadRows];
      QWEN3VL_UNROLL
      for (int i = 0; i < S::kThreadRows; ++i)
        a[i] = *reinterpret_cast<const Float4*>(q + i * S::kRowThreads * kPitch + d);
      QWEN3VL_UNROLL
      for (int j = 0; j < S::kThreadKeys; ++j) {
        const Float4 b = *reinterpret_cast<const Float4*>(k + j * 16 * kPitch + d);
        QWEN3VL_UNROLL
        for (int i = 0; i < S::kThreadRows; ++i) {
          float& s = r.scores[i][j];
          s = Fma(a[i].x, b.x, s), s = Fma(a[i].y, b.y, s), s = Fma(a[i].z, b.z, s), s = Fma(a[i].w, b.w, s);
        }
      }
    }
  }
};

}  // namespace qwen3vl::gpu
