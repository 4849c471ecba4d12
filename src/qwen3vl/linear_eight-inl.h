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
// sub-block s. Codes<i>() are the unsigned q of columns 4 i to 4 i + 3; kPart of them after each other, and
// kParts times that, share stored words: see InStoredOrder.
template <Format kFormat>
struct EightBlock;
constexpr size_t kCodesOfEight = kInterleavedCols / 4;

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
  template <size_t kIndex>
  HWY_INLINE __m256i Codes() const {
    constexpr size_t kWord = kIndex / 16 * 8 + kIndex % 8;
    constexpr int kShift = kIndex / 8 % 2 == 0 ? 0 : 4;
    return BitsOfEight<kShift>(WordOfEight(block, 4 + kWord), 15);
  }
  static constexpr size_t kPart = 8, kParts = 2;
};

template <>
struct EightBlock<Format::kQ5_K> : EightScales6 {
  const uint8_t* block;

  HWY_INLINE EightBlock(const uint8_t* words, const uint8_t*) : EightScales6(words), block(words) {}
  template <size_t kIndex>
  HWY_INLINE __m256i Codes() const {
    constexpr size_t kWord = kIndex / 16 * 8 + kIndex % 8;
    constexpr int kShift = kIndex / 8 % 2 == 0 ? 0 : 4;
    constexpr int kBit = static_cast<int>(kIndex / 8) - 4;  // from its place to 16
    return _mm256_or_si256(BitsOfEight<kShift>(WordOfEight(block, 12 + kWord), 15),
                           BitsOfEight<kBit>(WordOfEight(block, 4 + kIndex % 8), 16));
  }
  static constexpr size_t kPart = 8, kParts = 2;
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
  template <size_t kIndex>
  HWY_INLINE __m256i Codes() const {
    constexpr size_t kFirst = 4 + 3 * (kIndex / 32 * 8 + kIndex % 8), kQuarter = kIndex / 8 % 4;
    constexpr int kShift = kQuarter < 2 ? 0 : 4;
    return _mm256_or_si256(
        BitsOfEight<kShift>(WordOfEight(block, kFirst + kQuarter % 2), 15),
        BitsOfEight<2 * static_cast<int>(kQuarter) - 4>(WordOfEight(block, kFirst + 2), 48));
  }
  static constexpr size_t kPart = 8, kParts = 4;
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
  template <size_t kIndex>
  HWY_INLINE __m256i Codes() const {
    constexpr int kShift = kIndex / 4 % 2 == 0 ? 0 : 4;
    return BitsOfEight<kShift>(WordOfEight(block, kIndex / 8 * 4 + kIndex % 4), 15);
  }
  static constexpr size_t kPart = 4, kParts = 2;
};

// Index i of the codes when those that share a stored word follow each other.
template <class Block>
constexpr size_t InStoredOrder(size_t i) {
  constexpr size_t kShared = Block::kPart * Block::kParts;
  return i / kShared * kShared + i % Block::kParts * Block::kPart + i % kShared / Block::kParts;
}

// The same where the codes of a sub-block follow each other. Sub-blocks end in the order in which they end
// above, which is that of their sums.
template <class Block, size_t kSubWords>
constexpr size_t InSubBlockOrder(size_t i) {
  constexpr size_t kShared = Block::kPart * Block::kParts,
                   kRun = kSubWords < Block::kPart ? kSubWords : Block::kPart;
  const size_t in_shared = i % kShared, part = in_shared / kRun % Block::kParts;
  return i / kShared * kShared + part * Block::kPart + in_shared / (kRun * Block::kParts) * kRun + i % kRun;
}

// fn.operator()<i>() for i = 0 .. n - 1.
template <class Fn, size_t... I>
HWY_INLINE void Unrolled(const Fn& fn, std::index_sequence<I...>) {
  (fn.template operator()<I>(), ...);
}

// The activations of a step of 256 columns: of the first of the rows (QuantizedRow), which are `stride` bytes
// apart.
struct EightInputs {
  const std::byte *codes, *scales, *sums;
  size_t stride;
};

// What a step adds up for one activation row, eight weight rows at a time. All indices are constants, so that
// only sub-blocks under way take registers.
template <CodeInfo kInfo>
struct EightSums {
  __m256 products, offsets;
  // Of every sub-block, in int16 as long as they fit and in int32.
  [[maybe_unused]] __m256i pairs[256 / kInfo.sub_block];
  __m256i whole[256 / kInfo.sub_block];

  HWY_INLINE EightSums() : products(_mm256_setzero_ps()), offsets(_mm256_setzero_ps()) {}

  // The products of four columns, word kAt of sub-block kSub.
  template <size_t kSub, size_t kAt>
  HWY_INLINE void Add(__m256i codes, const std::byte* a) {
    constexpr size_t kSubWords = kInfo.sub_block / 4;
    int32_t four;
    std::memcpy(&four, a, sizeof four);
#if HWY_TARGET <= HWY_AVX3_DL
    // As in linear_tile_simd.cc.
    if constexpr (kAt == 0) whole[kSub] = _mm256_setzero_si256();
    asm("vpdpbusd %2, %1, %0" : "+v"(whole[kSub]) : "v"(codes), "v"(_mm256_set1_epi32(four)));
#else
    const __m256i product = _mm256_maddubs_epi16(codes, _mm256_set1_epi32(four));
    constexpr size_t kRoom = PairSumsInWord(kInfo.range);
    pairs[kSub] = kAt % kRoom == 0 ? product : _mm256_add_epi16(pairs[kSub], product);
    // Else the compiler adds in the order of a tree, for which it keeps more than fits the registers.
    asm("" : "+x"(pairs[kSub]));
    if constexpr (kAt % kRoom + 1 == kRoom || kAt + 1 == kSubWords) {
      const __m256i wide = _mm256_madd_epi16(pairs[kSub], _mm256_set1_epi16(1));
      whole[kSub] = kAt < kRoom ? wide : _mm256_add_epi32(whole[kSub], wide);
    }
#endif
  }
};

HWY_INLINE __m256 FloatToEight(const std::byte* p) {
  return _mm256_broadcast_ss(reinterpret_cast<const float*>(p));
}

constexpr size_t kRowsInStoredOrder = 2;

// Products of the block with 256 activations of each of N rows, added to sum. A row gets the same sums in the
// same order whatever N is.
template <Format kFormat, size_t N>
HWY_INLINE void AddEightBlock(const EightBlock<kFormat>& block, const EightInputs& in, __m256 (&sum)[N]) {
  constexpr CodeInfo kInfo = CodesOf(kFormat);
  constexpr size_t kSubWords = kInfo.sub_block / 4;
  EightSums<kInfo> sums[N];
  const auto add = [&]<size_t kStep>() __attribute__((always_inline)) HWY_ATTR {
    // Stored words are read once for few rows. With more, sums of all sub-blocks that share a word would take
    // more registers than there are.
    using Block = EightBlock<kFormat>;
    constexpr size_t kIndex =
        N <= kRowsInStoredOrder ? InStoredOrder<Block>(kStep) : InSubBlockOrder<Block, kSubWords>(kStep);
    constexpr size_t kSub = kIndex / kSubWords, kAt = kIndex % kSubWords;
    const __m256i codes = block.template Codes<kIndex>();
#pragma GCC unroll 4
    for (size_t c = 0; c < N; ++c)
      sums[c].template Add<kSub, kAt>(codes, in.codes + c * in.stride + 4 * kIndex);
    if constexpr (kAt + 1 == kSubWords) {
      const __m256 scale = block.template Scale<kSub>(), min = block.template Min<kSub>();
#pragma GCC unroll 4
      for (size_t c = 0; c < N; ++c) {
        const size_t at = c * in.stride + sizeof(float) * kSub;
        const __m256 both = _mm256_mul_ps(scale, FloatToEight(in.scales + at));
        sums[c].products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[c].whole[kSub]), both, sums[c].products);
        sums[c].offsets = _mm256_fmadd_ps(min, FloatToEight(in.sums + at), sums[c].offsets);
      }
    }
  };
  Unrolled(add, std::make_index_sequence<kCodesOfEight>());
#pragma GCC unroll 4
  for (size_t c = 0; c < N; ++c)
    sum[c] =
        _mm256_fnmadd_ps(block.dmin, sums[c].offsets, _mm256_fmadd_ps(block.d, sums[c].products, sum[c]));
}

// Eight interleaved rows times N activation rows x of `cols` columns (QuantizedRow), x_stride bytes apart.
template <Format kFormat, size_t N>
HWY_INLINE void DotEightRows(const uint8_t* group, size_t cols, const std::byte* x, size_t x_stride,
                             __m256 (&sum)[N]) {
  constexpr InterleavedStep kStepOfEight(kFormat);
  constexpr bool kSub32 = CodesOf(kFormat).sub_block == 32;
  const std::byte* floats = x + QuantizedRow::Padded(cols);
  EightInputs in{x, floats + (kSub32 ? 0 : 8) * sizeof(float), floats + (kSub32 ? 24 : 32) * sizeof(float),
                 x_stride};
#pragma GCC unroll 4
  for (size_t c = 0; c < N; ++c) sum[c] = _mm256_setzero_ps();
  for (size_t k = 0; k < cols; k += kInterleavedCols) {
#pragma GCC unroll 40
    for (size_t line = 0; line < kStepOfEight.bytes(); line += 64)
      hw::PrefetchFar(group + hw::kStreamAheadBytes + line);
    AddEightBlock<kFormat>(EightBlock<kFormat>(group + kStepOfEight.scale_bytes, group), in, sum);
    group += kStepOfEight.bytes();
    in.codes += kInterleavedCols;
    in.scales += QuantizedRow::kFloatsPerStep * sizeof(float);
    in.sums += QuantizedRow::kFloatsPerStep * sizeof(float);
  }
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // QWEN3VL_LINEAR_EIGHT_INL_H_
