// SPDX-License-Identifier: Apache-2.0
// Products of a few rows with q8_0 keys and values as a cache stores them. One token reads all of the cache,
// and converting every value to float takes longer than reading it. So the rows (q, or weights times the
// values' scales) become whole numbers of 16 bits instead, and products of pairs are summed in 32 bits: half
// as many instructions. A row's values are rounded to 1/65534 of its largest one, a hundredth of what 8 bits
// have lost in the cache.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_INT16_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_INT16_BLOCK_INL_H_
#undef QWEN3VL_ATTENTION_INT16_BLOCK_INL_H_
#else
#define QWEN3VL_ATTENTION_INT16_BLOCK_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "attention/multiply_block-inl.h"
#include "attention/online_softmax-inl.h"
#include "hw/codes16-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using hw::HWY_NAMESPACE::AddProducts;
using hw::HWY_NAMESPACE::CodeLimits;
using hw::HWY_NAMESPACE::CodeRows;
using hw::HWY_NAMESPACE::IntTag;
using hw::HWY_NAMESPACE::IntVec;
using hw::HWY_NAMESPACE::kLargestCode;
using hw::HWY_NAMESPACE::LoadPairs;
using hw::HWY_NAMESPACE::SetPair;
using hw::HWY_NAMESPACE::StoreCodes;

// Of 16 values each, whose sum of products with bytes of -128 stays below 2^31.
inline constexpr size_t kMaxPieces = 32;

// Two whole numbers of 16 bits in every lane, from bytes, the first one in the low half.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4
HWY_INLINE IntVec LoadPairs(const int8_t* p) {
  const hn::Repartition<int16_t, FloatTag> words;
  const hn::Rebind<int8_t, decltype(words)> bytes;
  return hn::BitCast(IntTag(), hn::PromoteTo(words, hn::LoadU(bytes, p)));
}
#else
HWY_INLINE IntVec LoadPairs(const int8_t* p) {
  const hn::Rebind<int16_t, FloatTag> pairs;
  const IntVec both = hn::PromoteTo(IntTag(), hn::LoadU(pairs, reinterpret_cast<const int16_t*>(p)));
  const IntVec first = hn::ShiftRight<24>(hn::ShiftLeft<24>(both)), second = hn::ShiftRight<8>(both);
  return hn::Or(hn::And(first, hn::Set(IntTag(), 0xffff)), hn::ShiftLeft<16>(second));
}
#endif

inline constexpr CodeLimits kCodeLimits{kLargestCode, std::numeric_limits<float>::infinity()};
HWY_INLINE float CodeFactor(float largest) { return largest >= 1e-30f ? kLargestCode / largest : 0.0f; }

// Rows in whole numbers: codes [pieces][rows][16], and the scale of each row's.
struct CodedRows {
  const int16_t* codes;
  const float* scales;  // [rows]
};

// codes = row * scales * factor; the codes of a panel are as far from those of the next as its floats.
HWY_INLINE void CodeProducts(RowPanels row, const float* HWY_RESTRICT scales, FloatVec factor,
                             int16_t* HWY_RESTRICT codes) {
  for (size_t panel = 0; panel < row.count; ++panel) {
    for (size_t lane = 0; lane < kPanelRows; lane += kLanes)
      StoreCodes(hn::Mul(hn::Mul(LoadFloats(row.at + lane), LoadFloats(scales + lane)), factor),
                 codes + lane);
    row.at += row.stride;
    scales += kPanelRows;
    codes += row.stride;
  }
}

template <size_t kRows, class Code, size_t... I>
HWY_INLINE void PairStep(IntVec* HWY_RESTRICT acc, const int16_t* a, const Code* b,
                         std::index_sequence<I...>) {
  IntVec columns[kPanelVecs];
  for (size_t j = 0; j < kPanelVecs; ++j) columns[j] = LoadPairs(b + j * 2 * kLanes);
  ((acc[I] = AddProducts(acc[I], SetPair(a + I / kPanelVecs * kPanelWidth), columns[I % kPanelVecs])), ...);
}

// Codes of B at work, and those that are asked for meanwhile.
struct CodeStream {
  const int8_t* at;
  const std::byte* ahead;

  HWY_INLINE CodeStream From(size_t byte) const { return {at + byte, ahead + byte}; }
};

// acc[r][16 columns] = sums over n pieces of 16 inner rows. a: [n][kRows][16]; b: [8 n][16][2].
template <size_t kRows>
HWY_INLINE void SumPieces(const int16_t* a, CodeStream b, size_t n, IntVec (&acc)[kRows * kPanelVecs]) {
  constexpr size_t kPieceBytes = kPanelWidth * kPanelWidth;
  constexpr std::make_index_sequence<kRows * kPanelVecs> kAll{};
  for (IntVec& sum : acc) sum = hn::Zero(IntTag());
  for (size_t piece = 0; piece < n; ++piece, a += kRows * kPanelWidth, b = b.From(kPieceBytes)) {
    for (size_t byte = 0; byte < kPieceBytes; byte += 64) hw::PrefetchFar(b.ahead + byte);
#pragma GCC unroll 8
    for (size_t pair = 0; pair < kPanelWidth / 2; ++pair)
      PairStep<kRows>(acc, a + 2 * pair, b.at + pair * 2 * kPanelWidth, kAll);
  }
}

// fn(rows as a constant).
template <class Fn>
void ForFewRows(size_t rows, const Fn& fn) {
  switch (rows) {
    case 1:
      return fn(std::integral_constant<size_t, 1>{});
    case 2:
      return fn(std::integral_constant<size_t, 2>{});
    case 3:
      return fn(std::integral_constant<size_t, 3>{});
    case 4:
      return fn(std::integral_constant<size_t, 4>{});
    case 5:
      return fn(std::integral_constant<size_t, 5>{});
    default:
      return fn(std::integral_constant<size_t, kMaxFewRows>{});
  }
}

// c [kRows][16] = rows times one key panel [head_dim / 2][16][2], whose scales are [head_dim / 32][16].
template <size_t kRows>
HWY_NOINLINE void ScorePanel(CodedRows rows, CodeStream panel, const hw::F16* scales, size_t head_dim,
                             float* c) {
  constexpr size_t kBlockPieces = 2;  // of 16 dimensions, which share a scale
  for (size_t block = 0; block < head_dim / 32; ++block) {
    IntVec acc[kRows * kPanelVecs];
    SumPieces<kRows>(rows.codes + block * kBlockPieces * kRows * kPanelWidth,
                     panel.From(block * 32 * kPanelWidth), kBlockPieces, acc);
    for (size_t j = 0; j < kPanelVecs; ++j) {
      const FloatVec key_scale = LoadFloats(scales + block * kPanelWidth + j * kLanes);
      for (size_t r = 0; r < kRows; ++r) {
        float* to = c + r * kPanelWidth + j * kLanes;
        const FloatVec sum = hn::ConvertTo(FloatTag(), acc[r * kPanelVecs + j]);
        const FloatVec scale = hn::Mul(key_scale, hn::Set(FloatTag(), rows.scales[r]));
        hn::StoreU(block == 0 ? hn::Mul(sum, scale) : hn::MulAdd(sum, scale, LoadFloats(to)), FloatTag(), to);
      }
    }
  }
}

// c [kRows][16] = c * alpha + rows times n pieces of 16 tokens of one value strip [8 n][16][2]; without
// alpha, c is overwritten.
template <size_t kRows>
HWY_NOINLINE void AddStrip(CodedRows rows, CodeStream strip, size_t n, const float* alpha, float* c) {
  for (size_t done = 0; done < n; done += kMaxPieces) {
    IntVec acc[kRows * kPanelVecs];
    SumPieces<kRows>(rows.codes + done * kRows * kPanelWidth, strip.From(done * kPanelWidth * kPanelWidth),
                     HWY_MIN(kMaxPieces, n - done), acc);
    for (size_t r = 0; r < kRows; ++r)
      for (size_t j = 0; j < kPanelVecs; ++j) {
        float* to = c + r * kPanelWidth + j * kLanes;
        const FloatVec sum =
            hn::Mul(hn::ConvertTo(FloatTag(), acc[r * kPanelVecs + j]), hn::Set(FloatTag(), rows.scales[r]));
        const float keep = done ? 1.0f : alpha ? alpha[r] : 0.0f;
        hn::StoreU(keep == 0.0f ? sum : hn::MulAdd(LoadFloats(to), hn::Set(FloatTag(), keep), sum),
                   FloatTag(), to);
      }
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
