// SPDX-License-Identifier: Apache-2.0
// Weight rows interleaved by eight (interleave.h): a row has a lane of its own, so that sums need no shuffles
// and eight rows share every conversion. Include after hwy/highway.h, once per target; does nothing for
// instruction sets before AVX2.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "hw/prefetch.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/linear_simd.h"

#if defined(QWEN3VL_LINEAR_EIGHT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_LINEAR_EIGHT_INL_H_
#undef QWEN3VL_LINEAR_EIGHT_INL_H_
#else
#define QWEN3VL_LINEAR_EIGHT_INL_H_
#endif

#if HWY_TARGET <= HWY_AVX2
HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
using hw::Format;

// Word `index` of the same block of eight rows.
HWY_INLINE __m256i WordOfEight(const uint8_t* block, size_t index) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 32 * index));
}

// (v >> kShift) & mask in every byte.
template <int kShift>
HWY_INLINE __m256i BitsOfEight(__m256i v, int8_t mask) {
  if constexpr (kShift > 0) v = _mm256_srli_epi16(v, kShift);
  if constexpr (kShift < 0) v = _mm256_slli_epi16(v, -kShift);
  return _mm256_and_si256(v, _mm256_set1_epi8(mask));
}

// A step of 256 columns of eight rows, a row a lane: value = d * Scale<s>() * q - dmin * Min<s>() in
// sub-block s. Word<w>(fn), for w below kWords, calls fn.operator()<i>(q) with the unsigned codes of columns
// 4 i to 4 i + 3, for each i that stored word w holds bits of.
template <Format kFormat>
struct EightBlock;

// Q4_K and Q5_K: scales and minima of 32 columns, taken apart as UnpackQ4KScales does it.
struct EightScales6 {
  __m256 d, dmin;
  __m256i scales[2], mins[2];  // a byte a sub-block

  HWY_INLINE explicit EightScales6(const uint8_t* block) {
    const __m256i both = WordOfEight(block, 0);
    const __m256i halves = _mm256_permute4x64_epi64(
        _mm256_packus_epi32(_mm256_and_si256(both, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(both, 16)),
        0xd8);
    d = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    dmin = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
    const __m256i a = WordOfEight(block, 1), b = WordOfEight(block, 2), c = WordOfEight(block, 3);
    scales[0] = BitsOfEight<0>(a, 0x3f);
    scales[1] = _mm256_or_si256(BitsOfEight<0>(c, 15), BitsOfEight<2>(a, 0x30));
    mins[0] = BitsOfEight<0>(b, 0x3f);
    mins[1] = _mm256_or_si256(BitsOfEight<4>(c, 15), BitsOfEight<2>(b, 0x30));
  }
  template <size_t kIndex>
  static HWY_INLINE __m256 Byte(const __m256i (&words)[2]) {
    return _mm256_cvtepi32_ps(
        _mm256_and_si256(_mm256_srli_epi32(words[kIndex / 4], 8 * (kIndex % 4)), _mm256_set1_epi32(255)));
  }
  template <size_t kSub>
  HWY_INLINE __m256 Scale() const {
    return Byte<kSub>(scales);
  }
  template <size_t kSub>
  HWY_INLINE __m256 Min() const {
    return Byte<kSub>(mins);
  }
};

template <>
struct EightBlock<Format::kQ4_K> : EightScales6 {
  const uint8_t* block;

  HWY_INLINE EightBlock(const uint8_t* words, const uint8_t*) : EightScales6(words), block(words) {}
  template <size_t kWord, class Fn>
  HWY_INLINE void Word(const Fn& fn) const {
    constexpr size_t kFirst = kWord / 8 * 16 + kWord % 8;  // of 64 columns, or the first half of them
    const __m256i v = WordOfEight(block, 4 + kWord);
    fn.template operator()<kFirst>(BitsOfEight<0>(v, 15));
    fn.template operator()<kFirst + 8>(BitsOfEight<4>(v, 15));
  }
  static constexpr size_t kWords = 32;
};

template <>
struct EightBlock<Format::kQ5_K> : EightScales6 {
  const uint8_t* block;

  HWY_INLINE EightBlock(const uint8_t* words, const uint8_t*) : EightScales6(words), block(words) {}
  template <size_t kWord, class Fn>
  HWY_INLINE void Word(const Fn& fn) const {
    constexpr size_t kPair = kWord / 8, kFirst = kPair * 16 + kWord % 8;
    constexpr int kLow = 2 * static_cast<int>(kPair) - 4;  // from the bit's place to 16
    const __m256i v = WordOfEight(block, 12 + kWord), high = WordOfEight(block, 4 + kWord % 8);
    fn.template operator()<kFirst>(_mm256_or_si256(BitsOfEight<0>(v, 15), BitsOfEight<kLow>(high, 16)));
    fn.template operator()<kFirst + 8>(
        _mm256_or_si256(BitsOfEight<4>(v, 15), BitsOfEight<kLow + 1>(high, 16)));
  }
  static constexpr size_t kWords = 32;
};

// Words 0 to 3 are the scales; then come, for 16 columns each, two words of low bits and one of high bits.
template <>
struct EightBlock<Format::kQ6_K> {
  __m256 d, dmin;
  const uint8_t* block;

  HWY_INLINE EightBlock(const uint8_t* words, const uint8_t* scale_halves) : block(words) {
    d = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scale_halves)));
    dmin = _mm256_mul_ps(d, _mm256_set1_ps(32.0f));
  }
  template <size_t kSub>
  HWY_INLINE __m256 Scale() const {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(
        _mm256_slli_epi32(WordOfEight(block, kSub / 4), 24 - 8 * static_cast<int>(kSub % 4)), 24));
  }
  template <size_t kSub>
  HWY_INLINE __m256 Min() const {
    return Scale<kSub>();
  }
  template <size_t kWord, class Fn>
  HWY_INLINE void Word(const Fn& fn) const {
    constexpr size_t kHalf = kWord / 8, kAt = kWord % 8, kFirst = 32 * kHalf + kAt;
    const __m256i v0 = WordOfEight(block, 4 + 3 * kWord), v1 = WordOfEight(block, 5 + 3 * kWord);
    const __m256i high = WordOfEight(block, 6 + 3 * kWord);
    fn.template operator()<kFirst>(_mm256_or_si256(BitsOfEight<0>(v0, 15), BitsOfEight<-4>(high, 48)));
    fn.template operator()<kFirst + 8>(_mm256_or_si256(BitsOfEight<0>(v1, 15), BitsOfEight<-2>(high, 48)));
    fn.template operator()<kFirst + 16>(_mm256_or_si256(BitsOfEight<4>(v0, 15), BitsOfEight<0>(high, 48)));
    fn.template operator()<kFirst + 24>(_mm256_or_si256(BitsOfEight<4>(v1, 15), BitsOfEight<2>(high, 48)));
  }
  static constexpr size_t kWords = 16;
};

template <>
struct EightBlock<Format::kQ4_0> {
  __m256 d = _mm256_set1_ps(1.0f), dmin = _mm256_set1_ps(8.0f);
  const uint8_t *block, *scales;

  HWY_INLINE EightBlock(const uint8_t* words, const uint8_t* scale_halves)
      : block(words), scales(scale_halves) {}
  template <size_t kSub>
  HWY_INLINE __m256 Scale() const {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + 16 * kSub)));
  }
  template <size_t kSub>
  HWY_INLINE __m256 Min() const {
    return Scale<kSub>();
  }
  template <size_t kWord, class Fn>
  HWY_INLINE void Word(const Fn& fn) const {
    constexpr size_t kFirst = kWord / 4 * 8 + kWord % 4;  // of 32 columns, or the first half of them
    const __m256i v = WordOfEight(block, kWord);
    fn.template operator()<kFirst>(BitsOfEight<0>(v, 15));
    fn.template operator()<kFirst + 4>(BitsOfEight<4>(v, 15));
  }
  static constexpr size_t kWords = 32;
};

// fn.operator()<i>() for i = 0 .. n - 1.
template <class Fn, size_t... I>
HWY_INLINE void Unrolled(const Fn& fn, std::index_sequence<I...>) {
  (fn.template operator()<I>(), ...);
}

// Products of the block with 256 activations a [256], whose scales and sums of each sub-block are given,
// added to sum.
template <Format kFormat>
HWY_INLINE __m256 AddEightBlock(const EightBlock<kFormat>& block, const int8_t* a, const float* a_scale,
                                const float* a_sum, __m256 sum) {
  constexpr CodeInfo kInfo = CodesOf(kFormat);
  constexpr size_t kSubWords = kInfo.sub_block / 4;
  __m256 products = _mm256_setzero_ps(), offsets = _mm256_setzero_ps();
  // Products of every sub-block, in int16 as long as they fit and in int32. All indices are constants, so
  // that only those of sub-blocks under way take registers.
  [[maybe_unused]] __m256i pairs[256 / kInfo.sub_block];
  __m256i whole[256 / kInfo.sub_block];
  const auto add = [&]<size_t kWord>(__m256i codes) HWY_ATTR {
    constexpr size_t kSub = kWord / kSubWords, kAt = kWord % kSubWords;
    int32_t four;
    std::memcpy(&four, a + 4 * kWord, sizeof four);
#if HWY_TARGET <= HWY_AVX3_DL
    // As in linear_tile_simd.cc.
    if constexpr (kAt == 0) whole[kSub] = _mm256_setzero_si256();
    asm("vpdpbusd %2, %1, %0" : "+v"(whole[kSub]) : "v"(codes), "v"(_mm256_set1_epi32(four)));
#else
    const __m256i product = _mm256_maddubs_epi16(codes, _mm256_set1_epi32(four));
    constexpr size_t kRoom = PairSumsInWord(kInfo.range);
    pairs[kSub] = kAt % kRoom == 0 ? product : _mm256_add_epi16(pairs[kSub], product);
    if constexpr (kAt % kRoom + 1 == kRoom || kAt + 1 == kSubWords) {
      const __m256i wide = _mm256_madd_epi16(pairs[kSub], _mm256_set1_epi16(1));
      whole[kSub] = kAt < kRoom ? wide : _mm256_add_epi32(whole[kSub], wide);
    }
#endif
    if constexpr (kAt + 1 == kSubWords) {
      const __m256 scale = block.template Scale<kSub>();
      products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[kSub]),
                                 _mm256_mul_ps(scale, _mm256_broadcast_ss(a_scale + kSub)), products);
      offsets = _mm256_fmadd_ps(block.template Min<kSub>(), _mm256_broadcast_ss(a_sum + kSub), offsets);
    }
  };
  Unrolled([&]<size_t kWord>() HWY_ATTR { block.template Word<kWord>(add); },
           std::make_index_sequence<EightBlock<kFormat>::kWords>());
  sum = _mm256_fmadd_ps(block.d, products, sum);
  return _mm256_fnmadd_ps(block.dmin, offsets, sum);
}

// Eight interleaved rows times the activation row x of `cols` columns (QuantizedRow).
template <Format kFormat>
HWY_INLINE __m256 DotEightRows(const uint8_t* group, size_t cols, const std::byte* x) {
  constexpr InterleavedStep kStepOfEight(kFormat);
  constexpr bool kSub32 = CodesOf(kFormat).sub_block == 32;
  const auto* a = reinterpret_cast<const int8_t*>(x);
  const auto* floats = reinterpret_cast<const float*>(x + QuantizedRow::Padded(cols));
  __m256 sum = _mm256_setzero_ps();
  for (size_t k = 0; k < cols; k += kInterleavedCols, floats += QuantizedRow::kFloatsPerStep) {
#pragma GCC unroll 40
    for (size_t line = 0; line < kStepOfEight.bytes(); line += 64)
      hw::PrefetchFar(group + hw::kStreamAheadBytes + line);
    sum = AddEightBlock<kFormat>(EightBlock<kFormat>(group + kStepOfEight.scale_bytes, group), a + k,
                                 floats + (kSub32 ? 0 : 8), floats + (kSub32 ? 24 : 32), sum);
    group += kStepOfEight.bytes();
  }
  return sum;
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // QWEN3VL_LINEAR_EIGHT_INL_H_
