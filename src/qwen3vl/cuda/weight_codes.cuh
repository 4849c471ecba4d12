// SPDX-License-Identifier: Apache-2.0
// Weights as the products read them. Codes come in units of 32, two groups of 16 that a lane reads with one
// or two loads of 16 bytes: 8 units in a block of 256. Floats come eight at a time. How a row lies in memory:
// device_weight.h.
#pragma once

#include "hw/device_dialect.cuh"
#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl::gpu {

// weight = scale * code - min, for 16 neighbouring columns of a block.
struct CodeGroup {
  Word4 codes;      // signed bytes
  unsigned column;  // first of them in the block, a multiple of 16
  float scale, min;
};

struct CodeUnit {
  CodeGroup a, b;
};

template <WeightFormat kFormat>
constexpr bool kHasCodes = kFormat >= WeightFormat::kQ8_0;
template <WeightFormat kFormat>
constexpr bool kHasMin = kFormat != WeightFormat::kQ8_0;
template <WeightFormat kFormat>  // columns that share scale and min
constexpr unsigned kSubBlock = kFormat == WeightFormat::kQ6_K ? 16 : 32;

QWEN3VL_DEVICE float LowHalf(unsigned word) { return HalfToFloat(static_cast<unsigned short>(word)); }
QWEN3VL_DEVICE float HighHalf(unsigned word) { return HalfToFloat(static_cast<unsigned short>(word >> 16)); }
QWEN3VL_DEVICE unsigned WordOf(const Word4& w, unsigned index) {
  return Select(index < 2, Select(index == 0, w.x, w.y), Select(index == 2, w.z, w.w));
}

QWEN3VL_DEVICE Word4 Nibbles(const Word4& w, unsigned shift) {
  constexpr unsigned kMask = 0x0f0f0f0f;
  return {w.x >> shift & kMask, w.y >> shift & kMask, w.z >> shift & kMask, w.w >> shift & kMask};
}

// Scale (6 bits) and min (6 bits) of sub-block j as Q4_K and Q5_K pack them into the last 12 bytes of its
// head.
QWEN3VL_DEVICE void UnpackScales(const Word4& head, unsigned j, float d, float dmin, CodeGroup& group) {
  const unsigned shift = 8 * (j % 4);
  const unsigned y = head.y >> shift, z = head.z >> shift, w = head.w >> shift;
  const unsigned scale = Select(j < 4, y & 63, (w & 15) | (y >> 6 & 3) << 4);
  const unsigned min = Select(j < 4, z & 63, (w >> 4 & 15) | (z >> 6 & 3) << 4);
  group.scale = d * static_cast<float>(scale);
  group.min = dmin * static_cast<float>(min);
}

// The codes of 4 bits: low nibbles of 32 bytes are one sub-block, high nibbles the next one.
QWEN3VL_DEVICE CodeUnit LoadNibbles(const unsigned char* codes, unsigned unit) {
  const Word4 w = LoadWords(codes + 16 * unit);
  CodeUnit u;
  u.a.codes = Nibbles(w, 0);
  u.b.codes = Nibbles(w, 4);
  u.a.column = 64 * (unit / 2) + 16 * (unit % 2);
  u.b.column = u.a.column + 32;
  return u;
}

// The bits of codes above 3, as many as kMask has, where the low ones are there already.
template <unsigned kMask>
QWEN3VL_DEVICE Word4 AddHighBits(const Word4& low, const Word4& high, unsigned shift) {
  return {low.x | (high.x >> shift & kMask) << 4, low.y | (high.y >> shift & kMask) << 4,
          low.z | (high.z >> shift & kMask) << 4, low.w | (high.w >> shift & kMask) << 4};
}

// Unit `unit` (0 .. 7) of block `block` of a row.
template <WeightFormat kFormat>
QWEN3VL_DEVICE CodeUnit LoadUnit(const unsigned char* row, unsigned blocks, unsigned block, unsigned unit) {
  if constexpr (kFormat == WeightFormat::kQ8_0) {
    const unsigned char* at = row + block * 272u;
    const unsigned word = WordOf(LoadWords(at), unit / 2);
    const float scale = LowHalf(word >> 16 * (unit % 2));
    return {{LoadWords(at + 16 + 32 * unit), 32 * unit, scale, 0.0f},
            {LoadWords(at + 32 + 32 * unit), 32 * unit + 16, scale, 0.0f}};
  } else if constexpr (kFormat == WeightFormat::kQ4_0) {
    const unsigned char* at = row + block * 144u;
    const unsigned word = WordOf(LoadWords(at), unit / 2);
    CodeUnit u = LoadNibbles(at + 16, unit);
    u.a.scale = LowHalf(word);
    u.b.scale = HighHalf(word);
    u.a.min = 8.0f * u.a.scale;
    u.b.min = 8.0f * u.b.scale;
    return u;
  } else if constexpr (kFormat == WeightFormat::kQ4_K || kFormat == WeightFormat::kQ5_K) {
    constexpr bool kFifth = kFormat == WeightFormat::kQ5_K;  // bit j of 32 bytes: of sub-block j
    const unsigned char* at = row + block * (kFifth ? 176u : 144u);
    const Word4 head = LoadWords(at);
    CodeUnit u = LoadNibbles(at + (kFifth ? 48 : 16), unit);
    if constexpr (kFifth) {
      const Word4 high = LoadWords(at + 16 + 16 * (unit % 2));
      u.a.codes = AddHighBits<0x01010101u>(u.a.codes, high, unit / 2 * 2);
      u.b.codes = AddHighBits<0x01010101u>(u.b.codes, high, unit / 2 * 2 + 1);
    }
    UnpackScales(head, unit / 2 * 2, LowHalf(head.x), HighHalf(head.x), u.a);
    UnpackScales(head, unit / 2 * 2 + 1, LowHalf(head.x), HighHalf(head.x), u.b);
    return u;
  } else {
    const unsigned char* at = row + block * 208u;
    const unsigned upper = unit / 4, part = unit / 2 % 2, half = unit % 2;
    const Word4 low = LoadWords(at + 16 * unit), high = LoadWords(at + 128 + 32 * upper + 16 * half);
    const unsigned short d = reinterpret_cast<const unsigned short*>(row + blocks * 208u)[block];
    const signed char* scales = reinterpret_cast<const signed char*>(at) + 192 + 8 * upper + 2 * part + half;
    const auto group = [&](unsigned index) {
      const float scale = HalfToFloat(d) * static_cast<float>(scales[4 * index]);
      const Word4 codes = AddHighBits<0x03030303u>(Nibbles(low, 4 * index), high, 2 * part + 4 * index);
      return CodeGroup{codes, 128 * upper + 32 * part + 16 * half + 64 * index, scale, 32.0f * scale};
    };
    return {group(0), group(1)};
  }
}

// Columns first .. first + 7 of a row of floats; first is a multiple of 8.
template <WeightFormat kFormat>
QWEN3VL_DEVICE Float8 LoadFloats(const unsigned char* row, unsigned first) {
  if constexpr (kFormat == WeightFormat::kF32) {
    const Float4* at = reinterpret_cast<const Float4*>(row + first * 4u);
    const Float4 a = at[0], b = at[1];
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
  } else {
    const Word4 w = LoadWords(row + first * 2u);
    if constexpr (kFormat == WeightFormat::kF16)
      return {{LowHalf(w.x), HighHalf(w.x), LowHalf(w.y), HighHalf(w.y), LowHalf(w.z), HighHalf(w.z),
               LowHalf(w.w), HighHalf(w.w)}};
    else
      return {{FloatOf(w.x << 16), FloatOf(w.x & 0xffff0000u), FloatOf(w.y << 16), FloatOf(w.y & 0xffff0000u),
               FloatOf(w.z << 16), FloatOf(w.z & 0xffff0000u), FloatOf(w.w << 16),
               FloatOf(w.w & 0xffff0000u)}};
  }
}

}  // namespace qwen3vl::gpu
