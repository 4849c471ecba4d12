// SPDX-License-Identifier: Apache-2.0
// Rows of q and k in 8 bits, for scores by DP4A: four products an instruction, at four times the rate of
// floats on compute capability 6.1. A block of 32 columns has one scale, its largest magnitude over 127, as
// q8_0 has, so that keys stored so are taken as they are. With both rounded, a score is off by about 1/180 of
// its standard deviation over random keys.
#pragma once

#include "attention/cuda/kv_rows.cuh"
#include "hw/device_dialect.cuh"

namespace qwen3vl::gpu {

// 1.5 * 2^23: a float this large has steps of 1, so that adding it rounds to a whole number and leaves that
// in the low bits; a sum of codes started from its bits is, read as a float, that much larger. It holds for
// magnitudes up to 2^22, and 32 products of codes reach 2^19.
constexpr float kWhole = 12582912.0f;
constexpr unsigned kWholeBits = 0x4b400000;
// Blocks with nothing larger count as zeros: 127 over it must be finite.
constexpr float kSmallest = 1e-30f;

QWEN3VL_DEVICE unsigned Code(float x, float inverse) { return BitsOf(Fma(x, inverse, kWhole)) & 0xff; }
QWEN3VL_DEVICE unsigned Codes4(float a, float b, float c, float d, float inverse) {
  return Code(a, inverse) | Code(b, inverse) << 8 | Code(c, inverse) << 16 | Code(d, inverse) << 24;
}

// Rounds a block that four neighbouring lanes hold, 8 columns each; all lanes of the warp must call. A lane
// that has no columns brings those of another lane of its block, and its codes mean nothing. Magnitudes are
// compared as the whole numbers that their bits are, where infinity and NaN are above all others: the scale
// is then neither finite, and what cannot be said in 8 bits reaches the result.
QWEN3VL_DEVICE Codes8 Quantize(const Float8& x) {
  const auto larger = [](unsigned a, unsigned b) { return a > b ? a : b; };
  unsigned bits = 0;
  QWEN3VL_UNROLL
  for (int i = 0; i < 8; ++i) bits = larger(bits, BitsOf(x.v[i]) & 0x7fffffff);
  bits = larger(bits, BitsOf(ShuffleXor(FloatOf(bits), 1)));
  bits = larger(bits, BitsOf(ShuffleXor(FloatOf(bits), 2)));
  const float largest = FloatOf(bits);
  const float inverse = largest > kSmallest ? 127.0f / largest : 0.0f;
  return {{Codes4(x.v[0], x.v[1], x.v[2], x.v[3], inverse), Codes4(x.v[4], x.v[5], x.v[6], x.v[7], inverse)},
          largest * (1.0f / 127.0f)};
}

// Columns 8 * unit .. 8 * unit + 7 of a key row as codes. For all formats but q8_0 four neighbouring lanes
// must ask for the four units of a block (`unit` past the row where it has fewer), and all of the warp call.
template <int kDim, KvFormat kFormat>
QWEN3VL_DEVICE Codes8 LoadCodes(const KvRows<kDim, kFormat>& rows, unsigned row, unsigned unit) {
  if constexpr (kFormat == KvFormat::kQ8_0) {
    return rows.Codes(row, unit);
  } else {
    return Quantize(rows.Load(row, unit < kDim / 8 ? unit : kDim / 8 - 1));
  }
}

// The sum that began as kWholeBits, as a float.
QWEN3VL_DEVICE float SumOf(unsigned sum) { return FloatOf(sum) - kWhole; }

}  // namespace qwen3vl::gpu
