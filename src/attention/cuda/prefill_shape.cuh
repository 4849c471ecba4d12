// SPDX-License-Identifier: Apache-2.0
// How the threads of a prefill block share out its work, and how rows get into shared memory.
#pragma once

#include "attention/cuda/attention_params.h"
#include "attention/cuda/kv_rows.cuh"
#include "hw/device_dialect.cuh"

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
  static constexpr int kKeySlice = 32;  // keys at a time of the weighted sums
  static constexpr int kKeyPitch = kKeySlice + 4;
  static_assert(kDim % 8 == 0 && kDim >= 64 && kDim <= 128);
  static_assert(!kTail || kDim % 64 <= 16, "one more column a thread");
  static_assert(kTile == 128 || kTile == 256);

  struct SumSlices {
    float weights[kRows * kKeyPitch];
    float v[kKeySlice * kDim];
  };

  // What a thread keeps in registers.
  struct Registers {
    float scores[kThreadRows][kThreadKeys];
    float acc[kThreadRows][kThreadCols];
    float row_max[kThreadRows];
    float row_sum[kThreadRows];  // over the thread's own keys
  };
};

QWEN3VL_DEVICE unsigned RowThread() { return ThreadIndex() / 16; }
QWEN3VL_DEVICE unsigned KeyThread() { return ThreadIndex() % 16; }

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

}  // namespace qwen3vl::gpu
