// SPDX-License-Identifier: Apache-2.0
// Brings up to 256 weights of any block format into one form: a byte a weight, a scale and a minimum a
// sub-block. The products know this form only. Include after hwy/highway.h, once per target.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hw/float16.h"
#include "hw/number_format.h"
#include "qwen3vl/linear_simd.h"
#include "qwen3vl/quant_blocks.h"

#if defined(QWEN3VL_LINEAR_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_LINEAR_UNPACK_INL_H_
#undef QWEN3VL_LINEAR_UNPACK_INL_H_
#else
#define QWEN3VL_LINEAR_UNPACK_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using hw::Format;

// value[i] = scale[s] * q[i] - min[s], s = i / 32, or i / 16 where CodesOf(format).sub_block says so.
// q is signed for CodeRange::kSigned8. Sub-blocks that are not there have scale and min 0.
struct Codes {
  alignas(64) uint8_t q[256];
  alignas(64) float scale[16];
  alignas(64) float min[16];
};

HWY_INLINE float LoadHalf(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
#if HWY_TARGET <= HWY_AVX2
  return _cvtsh_ss(bits);
#else
  return hw::ToFloat(hw::F16{bits});
#endif
}

// Bytes a vector, at most the 32 that share a bit position in the 256-blocks.
using D8 = hn::CappedTag<uint8_t, 32>;
using D16 = hn::RepartitionToWide<D8>;

// (v >> kShift) & mask in every byte.
template <int kShift>
HWY_INLINE hn::Vec<D8> Bits(hn::Vec<D8> v, uint8_t mask) {
  const D8 d;
  if constexpr (kShift > 0) {
#if HWY_TARGET == HWY_SCALAR
    v = hn::ShiftRight<kShift>(v);
#else
    v = hn::BitCast(d, hn::ShiftRight<kShift>(hn::BitCast(D16(), v)));
#endif
  } else if constexpr (kShift < 0) {
    v = hn::ShiftLeft<-kShift>(v);
  }
  return hn::And(v, hn::Set(d, mask));
}

// out[i] = factor * (signed or unsigned) bytes[i], n a multiple of 8.
template <class Byte>
HWY_INLINE void ScaleBytes(const Byte* bytes, size_t n, float factor, float* out) {
  const hn::CappedTag<float, 8> df;
  const hn::Rebind<int32_t, decltype(df)> di;
  const hn::Rebind<Byte, decltype(df)> db;
  const auto f = hn::Set(df, factor);
  for (size_t i = 0; i < n; i += hn::Lanes(df))
    hn::StoreU(hn::Mul(f, hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(db, bytes + i)))), df, out + i);
}

// The 32-blocks are unpacked in steps of one vector and written once: a vector read back from two narrower
// stores would wait for both.

// Step `step` of 32 nibbles in 16 bytes, the low ones first.
HWY_INLINE hn::Vec<D8> Nibbles(const uint8_t* src, [[maybe_unused]] size_t step) {
  const D8 d;
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<uint8_t>(step < 16 ? src[step] & 15 : src[step - 16] >> 4));
#else
  const auto v = hn::LoadDup128(d, src);
  const auto high = Bits<4>(v, 15);
  const auto low = hn::And(v, hn::Set(d, uint8_t{15}));
  if constexpr (hn::MaxLanes(d) == 32) return hn::ConcatUpperLower(d, high, low);
  return step == 0 ? low : high;
#endif
}

// 16 in every byte of step `step` whose bit, of the 32 at `bits`, is set.
HWY_INLINE hn::Vec<D8> FifthBits(const uint8_t* bits, size_t step) {
  const D8 d;
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<uint8_t>(((bits[step / 8] >> (step % 8)) & 1) << 4));
#else
  alignas(32) static constexpr uint8_t kByte[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
  uint32_t word;
  std::memcpy(&word, bits, sizeof word);
  const auto words = hn::BitCast(d, hn::Set(hn::Repartition<uint32_t, D8>(), word));
  const auto bit = hn::BitCast(d, hn::Set(hn::Repartition<uint64_t, D8>(), uint64_t{0x8040201008040201u}));
  const auto spread = hn::TableLookupBytes(words, hn::Load(d, kByte + step * hn::Lanes(d)));
  return hn::IfThenElseZero(hn::Eq(hn::And(spread, bit), bit), hn::Set(d, uint8_t{16}));
#endif
}

// table[code] for codes below 16.
HWY_INLINE hn::Vec<D8> LookUp(const int8_t* table, hn::Vec<D8> codes) {
  const D8 d;
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<uint8_t>(table[hn::GetLane(codes)]));
#else
  return hn::TableLookupBytes(hn::LoadDup128(d, reinterpret_cast<const uint8_t*>(table)), codes);
#endif
}

// Where the codes of a 32-block begin: after the scale, the minimum and the fifth bits.
template <Format kFormat>
constexpr size_t kCodesAt = hw::Info(kFormat).block_bytes - (kFormat == Format::kQ8_0 ? 32 : 16);

template <Format kFormat>
HWY_INLINE hn::Vec<D8> BlockCodes(const uint8_t* b, size_t step) {
  const D8 d;
  const uint8_t* q = b + kCodesAt<kFormat>;
  if constexpr (kFormat == Format::kQ8_0) {
    return hn::LoadU(d, q + step * hn::Lanes(d));
  } else if constexpr (kFormat == Format::kQ5_0 || kFormat == Format::kQ5_1) {
    return hn::Or(Nibbles(q, step), FifthBits(q - 4, step));
  } else if constexpr (kFormat == Format::kIQ4_NL) {
    return LookUp(kIq4Values, Nibbles(q, step));
  } else if constexpr (kFormat == Format::kMXFP4) {
    // Codes 0..24 stand for -12..12.
    alignas(16) static constexpr int8_t kShifted[16] = {12, 13, 14, 15, 16, 18, 20, 24,
                                                        12, 11, 10, 9,  8,  6,  4,  0};
    return LookUp(kShifted, Nibbles(q, step));
  } else {
    return Nibbles(q, step);
  }
}

// Codes of block j of a run that begins at b.
template <Format kFormat>
HWY_INLINE void UnpackBlockCodes(const uint8_t* b, size_t j, Codes& c) {
  const D8 d;
  for (size_t step = 0; step < 32 / hn::Lanes(d); ++step)
    hn::StoreU(BlockCodes<kFormat>(b + j * hw::Info(kFormat).block_bytes, step), d,
               c.q + 32 * j + step * hn::Lanes(d));
}

// How the minimum of a block follows from its scale; formats with a minimum of their own have none.
template <Format kFormat>
constexpr float kMinPerScale = kFormat == Format::kQ4_0    ? 8.0f
                               : kFormat == Format::kQ5_0  ? 16.0f
                               : kFormat == Format::kMXFP4 ? 12.0f
                                                           : 0.0f;
template <Format kFormat>
constexpr bool kStoresMin = kFormat == Format::kQ4_1 || kFormat == Format::kQ5_1;

#if HWY_TARGET <= HWY_AVX2
// The half-precision numbers at the beginning of eight blocks, without a detour through memory.
template <size_t kBytes>
HWY_INLINE __m256 EightHalves(const uint8_t* b) {
  const auto at = [&](size_t j) HWY_ATTR {
    uint16_t bits;
    std::memcpy(&bits, b + j * kBytes, sizeof bits);
    return static_cast<int16_t>(bits);
  };
  return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}
#endif

// Formats of 32-blocks: `n` (1 .. 8) of them.
template <Format kFormat>
HWY_INLINE void UnpackBlocks(const uint8_t* b, size_t n, Codes& c) {
  constexpr size_t kBytes = hw::Info(kFormat).block_bytes;
#if HWY_TARGET <= HWY_AVX2
  if (HWY_LIKELY(n == 8) && kFormat != Format::kMXFP4) {
    const __m256 scale = EightHalves<kBytes>(b);
    _mm256_store_ps(c.scale, scale);
    _mm256_store_ps(c.min, kStoresMin<kFormat>
                               ? _mm256_sub_ps(_mm256_setzero_ps(), EightHalves<kBytes>(b + 2))
                               : _mm256_mul_ps(scale, _mm256_set1_ps(kMinPerScale<kFormat>)));
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) UnpackBlockCodes<kFormat>(b, j, c);
    return;
  }
#endif
  for (size_t j = 0; j < n; ++j) {
    const uint8_t* block = b + j * kBytes;
    c.scale[j] = kFormat == Format::kMXFP4 ? Mxfp4Scale(block[0]) : LoadHalf(block);
    c.min[j] = kStoresMin<kFormat> ? -LoadHalf(block + 2) : kMinPerScale<kFormat> * c.scale[j];
    UnpackBlockCodes<kFormat>(b, j, c);
  }
  for (size_t j = n; j < 8; ++j) c.scale[j] = c.min[j] = 0;
}

HWY_INLINE void UnpackQ2K(const uint8_t* b, Codes& c) {
  const D8 d;
  alignas(16) uint8_t scales[16], mins[16];
  for (size_t i = 0; i < 16; ++i) scales[i] = b[i] & 15, mins[i] = b[i] >> 4;
  ScaleBytes(scales, 16, LoadHalf(b + 80), c.scale);
  ScaleBytes(mins, 16, LoadHalf(b + 82), c.min);
  for (size_t h = 0; h < 2; ++h)
    for (size_t l = 0; l < 32; l += hn::Lanes(d)) {
      const auto v = hn::LoadU(d, b + 16 + 32 * h + l);
      uint8_t* q = c.q + 128 * h + l;
      hn::StoreU(Bits<0>(v, 3), d, q);
      hn::StoreU(Bits<2>(v, 3), d, q + 32);
      hn::StoreU(Bits<4>(v, 3), d, q + 64);
      hn::StoreU(Bits<6>(v, 3), d, q + 96);
    }
}

// Codes 0..7 stand for -4..3: the bit of the mask is worth 4.
HWY_INLINE void UnpackQ3K(const uint8_t* b, Codes& c) {
  const D8 d;
  int8_t scales[16];
  UnpackQ3KScales(b + 96, scales);
  const float scale = LoadHalf(b + 108);
  ScaleBytes(scales, 16, scale, c.scale);
  ScaleBytes(scales, 16, 4 * scale, c.min);
  for (size_t l = 0; l < 32; l += hn::Lanes(d)) {
    const auto high = hn::LoadU(d, b + l);
    const auto low0 = hn::LoadU(d, b + 32 + l), low1 = hn::LoadU(d, b + 64 + l);
    uint8_t* q = c.q + l;
    hn::StoreU(hn::Or(Bits<0>(low0, 3), Bits<-2>(high, 4)), d, q);
    hn::StoreU(hn::Or(Bits<2>(low0, 3), Bits<-1>(high, 4)), d, q + 32);
    hn::StoreU(hn::Or(Bits<4>(low0, 3), Bits<0>(high, 4)), d, q + 64);
    hn::StoreU(hn::Or(Bits<6>(low0, 3), Bits<1>(high, 4)), d, q + 96);
    hn::StoreU(hn::Or(Bits<0>(low1, 3), Bits<2>(high, 4)), d, q + 128);
    hn::StoreU(hn::Or(Bits<2>(low1, 3), Bits<3>(high, 4)), d, q + 160);
    hn::StoreU(hn::Or(Bits<4>(low1, 3), Bits<4>(high, 4)), d, q + 192);
    hn::StoreU(hn::Or(Bits<6>(low1, 3), Bits<5>(high, 4)), d, q + 224);
  }
}

HWY_INLINE void UnpackScalesAndMins(const uint8_t* b, Codes& c) {
  uint8_t scales[8], mins[8];
  UnpackQ4KScales(b + 4, scales, mins);
  ScaleBytes(scales, 8, LoadHalf(b), c.scale);
  ScaleBytes(mins, 8, LoadHalf(b + 2), c.min);
}

HWY_INLINE void UnpackQ4K(const uint8_t* b, Codes& c) {
  const D8 d;
  UnpackScalesAndMins(b, c);
  for (size_t pair = 0; pair < 4; ++pair)
    for (size_t l = 0; l < 32; l += hn::Lanes(d)) {
      const auto v = hn::LoadU(d, b + 16 + 32 * pair + l);
      hn::StoreU(Bits<0>(v, 15), d, c.q + 64 * pair + l);
      hn::StoreU(Bits<4>(v, 15), d, c.q + 64 * pair + 32 + l);
    }
}

HWY_INLINE void UnpackQ5K(const uint8_t* b, Codes& c) {
  const D8 d;
  UnpackScalesAndMins(b, c);
  for (size_t l = 0; l < 32; l += hn::Lanes(d)) {
    const auto high = hn::LoadU(d, b + 16 + l);
    const auto v0 = hn::LoadU(d, b + 48 + l), v1 = hn::LoadU(d, b + 80 + l);
    const auto v2 = hn::LoadU(d, b + 112 + l), v3 = hn::LoadU(d, b + 144 + l);
    uint8_t* q = c.q + l;
    hn::StoreU(hn::Or(Bits<0>(v0, 15), Bits<-4>(high, 16)), d, q);
    hn::StoreU(hn::Or(Bits<4>(v0, 15), Bits<-3>(high, 16)), d, q + 32);
    hn::StoreU(hn::Or(Bits<0>(v1, 15), Bits<-2>(high, 16)), d, q + 64);
    hn::StoreU(hn::Or(Bits<4>(v1, 15), Bits<-1>(high, 16)), d, q + 96);
    hn::StoreU(hn::Or(Bits<0>(v2, 15), Bits<0>(high, 16)), d, q + 128);
    hn::StoreU(hn::Or(Bits<4>(v2, 15), Bits<1>(high, 16)), d, q + 160);
    hn::StoreU(hn::Or(Bits<0>(v3, 15), Bits<2>(high, 16)), d, q + 192);
    hn::StoreU(hn::Or(Bits<4>(v3, 15), Bits<3>(high, 16)), d, q + 224);
  }
}

// Codes 0..63 stand for -32..31.
HWY_INLINE void UnpackQ6K(const uint8_t* b, Codes& c) {
  const D8 d;
  const float scale = LoadHalf(b + 208);
  const auto* scales = reinterpret_cast<const int8_t*>(b + 192);
  ScaleBytes(scales, 16, scale, c.scale);
  ScaleBytes(scales, 16, 32 * scale, c.min);
  for (size_t h = 0; h < 2; ++h)
    for (size_t l = 0; l < 32; l += hn::Lanes(d)) {
      const auto v0 = hn::LoadU(d, b + 64 * h + l), v1 = hn::LoadU(d, b + 64 * h + 32 + l);
      const auto high = hn::LoadU(d, b + 128 + 32 * h + l);
      uint8_t* q = c.q + 128 * h + l;
      hn::StoreU(hn::Or(Bits<0>(v0, 15), Bits<-4>(high, 48)), d, q);
      hn::StoreU(hn::Or(Bits<0>(v1, 15), Bits<-2>(high, 48)), d, q + 32);
      hn::StoreU(hn::Or(Bits<4>(v0, 15), Bits<0>(high, 48)), d, q + 64);
      hn::StoreU(hn::Or(Bits<4>(v1, 15), Bits<2>(high, 48)), d, q + 96);
    }
}

HWY_INLINE void UnpackIq4Xs(const uint8_t* b, Codes& c) {
  const D8 d;
  int8_t scales[8];
  UnpackIq4XsScales(b + 2, scales);
  ScaleBytes(scales, 8, LoadHalf(b), c.scale);
  std::memset(c.min, 0, 8 * sizeof(float));
  for (size_t j = 0; j < 8; ++j)
    for (size_t step = 0; step < 32 / hn::Lanes(d); ++step)
      hn::StoreU(LookUp(kIq4Values, Nibbles(b + 8 + 16 * j, step)), d, c.q + 32 * j + step * hn::Lanes(d));
}

// Unpacks `n_blocks` (1 .. 8) blocks of 32 weights; the 256-blocks come whole.
template <Format kFormat>
HWY_INLINE void Unpack(const uint8_t* src, size_t n_blocks, Codes& c) {
  if constexpr (kFormat == Format::kQ2_K) {
    UnpackQ2K(src, c);
  } else if constexpr (kFormat == Format::kQ3_K) {
    UnpackQ3K(src, c);
  } else if constexpr (kFormat == Format::kQ4_K) {
    UnpackQ4K(src, c);
  } else if constexpr (kFormat == Format::kQ5_K) {
    UnpackQ5K(src, c);
  } else if constexpr (kFormat == Format::kQ6_K) {
    UnpackQ6K(src, c);
  } else if constexpr (kFormat == Format::kIQ4_XS) {
    UnpackIq4Xs(src, c);
  } else {
    UnpackBlocks<kFormat>(src, n_blocks, c);
  }
}

// Calls fn.operator()<kFormat>() for the block format; false, and no call, for plain ones.
template <class Fn>
HWY_INLINE bool ForBlockFormat(Format format, const Fn& fn) {
  switch (format) {
    case Format::kQ8_0:
      return fn.template operator()<Format::kQ8_0>(), true;
    case Format::kQ4_0:
      return fn.template operator()<Format::kQ4_0>(), true;
    case Format::kQ4_1:
      return fn.template operator()<Format::kQ4_1>(), true;
    case Format::kQ5_0:
      return fn.template operator()<Format::kQ5_0>(), true;
    case Format::kQ5_1:
      return fn.template operator()<Format::kQ5_1>(), true;
    case Format::kIQ4_NL:
      return fn.template operator()<Format::kIQ4_NL>(), true;
    case Format::kMXFP4:
      return fn.template operator()<Format::kMXFP4>(), true;
    case Format::kQ2_K:
      return fn.template operator()<Format::kQ2_K>(), true;
    case Format::kQ3_K:
      return fn.template operator()<Format::kQ3_K>(), true;
    case Format::kQ4_K:
      return fn.template operator()<Format::kQ4_K>(), true;
    case Format::kQ5_K:
      return fn.template operator()<Format::kQ5_K>(), true;
    case Format::kQ6_K:
      return fn.template operator()<Format::kQ6_K>(), true;
    case Format::kIQ4_XS:
      return fn.template operator()<Format::kIQ4_XS>(), true;
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      break;
  }
  return false;
}

// The same for f32, f16 and bf16.
template <class Fn>
HWY_INLINE bool ForFloatFormat(Format format, const Fn& fn) {
  if (format == Format::kF32) return fn.template operator()<Format::kF32>(), true;
  if (format == Format::kF16) return fn.template operator()<Format::kF16>(), true;
  if (format == Format::kBF16) return fn.template operator()<Format::kBF16>(), true;
  return false;
}

// The same for all formats.
template <class Fn>
HWY_INLINE void ForFormat(Format format, const Fn& fn) {
  if (!ForFloatFormat(format, fn)) ForBlockFormat(format, fn);
}

// values[i] = scale * q[i] - min for the first n, a multiple of the sub-block.
template <CodeInfo kInfo>
HWY_INLINE void ValuesOf(const Codes& c, size_t n, float* values) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  using Byte = std::conditional_t<kInfo.range == CodeRange::kSigned8, int8_t, uint8_t>;
  const hn::Rebind<Byte, decltype(d)> db;
  const auto* q = reinterpret_cast<const Byte*>(c.q);
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const size_t s = i / kInfo.sub_block;
    const auto code = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(db, q + i)));
    hn::StoreU(hn::MulSub(code, hn::Set(d, c.scale[s]), hn::Set(d, c.min[s])), d, values + i);
  }
}

// One weight of kFormat (f32, f16, bf16) at any address.
template <Format kFormat>
HWY_INLINE float LoadOne(const uint8_t* w) {
  if constexpr (kFormat == Format::kF32) {
    float value;
    std::memcpy(&value, w, sizeof value);
    return value;
  } else if constexpr (kFormat == Format::kF16) {
    return LoadHalf(w);
  } else {
    uint16_t bits;
    std::memcpy(&bits, w, sizeof bits);
    return hw::ToFloat(hw::BF16{bits});
  }
}

#if HWY_TARGET != HWY_SCALAR
// A vector of them.
template <Format kFormat, class D = hn::ScalableTag<float>>
HWY_INLINE hn::Vec<D> LoadStored(const uint8_t* w) {
  const D d;
  if constexpr (kFormat == Format::kF32) {
    return hn::LoadU(d, reinterpret_cast<const float*>(w));
  } else if constexpr (kFormat == Format::kF16) {
    return hn::PromoteTo(
        d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(w)));
  } else {
    return hn::PromoteTo(
        d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), reinterpret_cast<const hwy::bfloat16_t*>(w)));
  }
}
#endif

// Columns [k, k + n) of a row as floats, of block formats at most 256, k a multiple of 256; zeros up to a
// multiple of 4.
template <Format kFormat>
HWY_INLINE void ConvertRow(const std::byte* row, size_t k, size_t n, Codes& codes, float* values) {
  constexpr size_t kBlock = hw::Info(kFormat).block_elements, kBytes = hw::Info(kFormat).block_bytes;
  const auto* src = reinterpret_cast<const uint8_t*>(row) + k / kBlock * kBytes;
  if constexpr (hw::IsQuantized(kFormat)) {
    Unpack<kFormat>(src, n / 32, codes);
    ValuesOf<CodesOf(kFormat)>(codes, n, values);
  } else {
    size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::ScalableTag<float> d;
    for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
      hn::StoreU(LoadStored<kFormat>(src + i * kBytes), d, values + i);
#endif
    for (; i < n; ++i) values[i] = LoadOne<kFormat>(src + i * kBytes);
    for (; i % 4; ++i) values[i] = 0;
  }
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // QWEN3VL_LINEAR_UNPACK_INL_H_
