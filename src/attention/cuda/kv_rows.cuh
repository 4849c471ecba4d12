// SPDX-License-Identifier: Apache-2.0
// Eight neighbouring values of a key or value row as floats, from each storage format.
#pragma once

#include "attention/cuda/attention_params.h"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

// Eight neighbouring values in 8 bits: each is a code, the lowest byte first, times the scale.
struct Codes8 {
  Word2 codes;
  float scale;
};

// The rows of one kv head: [kv_len, kDim].
template <int kDim, KvFormat kFormat>
struct KvRows {
  const void* data;
  const unsigned short* scales;

  // Columns 8 * unit .. 8 * unit + 7 of a row.
  QWEN3VL_DEVICE Float8 Load(unsigned row, unsigned unit) const {
    const unsigned long long element = static_cast<unsigned long long>(row) * kDim + unit * 8;
    if constexpr (kFormat == KvFormat::kF32)
      return LoadF32(static_cast<const float*>(data) + element);
    else if constexpr (kFormat == KvFormat::kF16)
      return LoadF16(static_cast<const unsigned short*>(data) + element);
    else
      return LoadQ8(static_cast<const signed char*>(data) + element, HalfToFloat(scales[element / 32]));
  }
  // The same as they are stored. kQ8_0 only.
  QWEN3VL_DEVICE Codes8 Codes(unsigned row, unsigned unit) const {
    static_assert(kFormat == KvFormat::kQ8_0);
    const unsigned long long element = static_cast<unsigned long long>(row) * kDim + unit * 8;
    return {*reinterpret_cast<const Word2*>(static_cast<const signed char*>(data) + element),
            HalfToFloat(scales[element / 32])};
  }

 private:
  static QWEN3VL_DEVICE Float8 LoadF32(const float* at) {
    const Float4 a = reinterpret_cast<const Float4*>(at)[0], b = reinterpret_cast<const Float4*>(at)[1];
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
  }
  static QWEN3VL_DEVICE Float8 LoadF16(const unsigned short* at) {
    const Word4 w = *reinterpret_cast<const Word4*>(at);
    return {{Low(w.x), High(w.x), Low(w.y), High(w.y), Low(w.z), High(w.z), Low(w.w), High(w.w)}};
  }
  static QWEN3VL_DEVICE Float8 LoadQ8(const signed char* at, float scale) {
    const Word2 w = *reinterpret_cast<const Word2*>(at);
    return {{scale * Byte(w.x, 0), scale * Byte(w.x, 1), scale * Byte(w.x, 2), scale * Byte(w.x, 3),
             scale * Byte(w.y, 0), scale * Byte(w.y, 1), scale * Byte(w.y, 2), scale * Byte(w.y, 3)}};
  }
  static QWEN3VL_DEVICE float Low(unsigned word) { return HalfToFloat(static_cast<unsigned short>(word)); }
  static QWEN3VL_DEVICE float High(unsigned word) {
    return HalfToFloat(static_cast<unsigned short>(word >> 16));
  }
  static QWEN3VL_DEVICE float Byte(unsigned word, int index) {
    return static_cast<float>(static_cast<signed char>(word >> (8 * index)));
  }
};

// Rows of kv head `head` of sequence `batch`.
template <int kDim, KvFormat kFormat>
QWEN3VL_DEVICE KvRows<kDim, kFormat> RowsOf(const AttentionParams& p, const void* data,
                                            const unsigned short* scales, unsigned batch, unsigned head) {
  constexpr unsigned kBytes = kFormat == KvFormat::kF32 ? 4 : kFormat == KvFormat::kF16 ? 2 : 1;
  const unsigned long long element =
      (static_cast<unsigned long long>(batch) * p.n_kv_heads + head) * p.kv_len * kDim;
  return {static_cast<const char*>(data) + element * kBytes,
          kFormat == KvFormat::kQ8_0 ? scales + element / 32 : scales};
}

}  // namespace qwen3vl::gpu
