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

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "attention/multiply_block-inl.h"
#include "attention/online_softmax-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;
inline constexpr float kLargestCode = 32767.0f;
// Of 16 values each, whose sum of products with bytes of -128 stays below 2^31.
inline constexpr size_t kMaxPieces = 32;

// Two whole numbers of 16 bits in every lane, the first one in the low half.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4
HWY_INLINE IntVec LoadPairs(const int8_t* p) {
  const hn::Repartition<int16_t, FloatTag> words;
  const hn::Rebind<int8_t, decltype(words)> bytes;
  return hn::BitCast(IntTag(), hn::PromoteTo(words, hn::LoadU(bytes, p)));
}
// acc + products of the pairs.
HWY_INLINE IntVec AddProducts(IntVec acc, IntVec a, IntVec b) {
  const hn::Repartition<int16_t, FloatTag> words;
  IntVec unused = hn::Zero(IntTag());
  acc = hn::ReorderWidenMulAccumulate(IntTag(), hn::BitCast(words, a), hn::BitCast(words, b), acc, unused);
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  // Or the compiler turns the running sum into a tree of sums, which spills all of its leaves.
  asm("" : "+v"(acc.raw));
#endif
  return acc;
}
#else
HWY_INLINE IntVec LoadPairs(const int8_t* p) {
  const hn::Rebind<int16_t, FloatTag> pairs;
  const IntVec both = hn::PromoteTo(IntTag(), hn::LoadU(pairs, reinterpret_cast<const int16_t*>(p)));
  const IntVec first = hn::ShiftRight<24>(hn::ShiftLeft<24>(both)), second = hn::ShiftRight<8>(both);
  return hn::Or(hn::And(first, hn::Set(IntTag(), 0xffff)), hn::ShiftLeft<16>(second));
}
HWY_INLINE IntVec AddProducts(IntVec acc, IntVec a, IntVec b) {
  const auto first = [](IntVec v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  const IntVec seconds = hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b));
  return hn::Add(acc, hn::Add(hn::Mul(first(a), first(b)), seconds));
}
#endif

HWY_INLINE IntVec SetPair(const int16_t* p) {
  int32_t both;
  std::memcpy(&both, p, sizeof both);
  return hn::Set(IntTag(), both);
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE IntVec LoadPairs(const int16_t* p) { return SetPair(p); }
HWY_INLINE void StorePairs(IntVec pairs, int16_t* p) { std::memcpy(p, &pairs.raw, sizeof pairs.raw); }
#else
inline constexpr hn::Repartition<int16_t, FloatTag> kWords;
HWY_INLINE IntVec LoadPairs(const int16_t* p) { return hn::BitCast(IntTag(), hn::LoadU(kWords, p)); }
HWY_INLINE void StorePairs(IntVec pairs, int16_t* p) { hn::StoreU(hn::BitCast(kWords, pairs), kWords, p); }
#endif

// kLanes values of magnitude up to kLargestCode, rounded.
HWY_INLINE void StoreCodes(FloatVec values, int16_t* codes) {
  const hn::Rebind<int16_t, FloatTag> words;
  // Adding this leaves the whole number in the low mantissa bits.
  const FloatVec shifter = hn::Set(FloatTag(), 0x1.8p23f);
  const IntVec bits = hn::BitCast(IntTag(), hn::Add(values, shifter));
  hn::StoreU(hn::DemoteTo(words, hn::Sub(bits, hn::BitCast(IntTag(), shifter))), words, codes);
}

// How large the codes of a row, and the norm of all of them, may become.
struct CodeLimits {
  float largest, norm;
};
inline constexpr CodeLimits kCodeLimits{kLargestCode, std::numeric_limits<float>::infinity()};

// Values times this are codes within the limits; sums of n products of two such rows stay below the product
// of their norms (Cauchy-Schwarz). Where squares have left the range of floats, n times the largest one
// stands for their sum.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CodeFactors(D d, V largest, V squares, size_t n, CodeLimits limits) {
  const V bound = hn::Mul(largest, hn::Set(d, std::sqrt(static_cast<float>(n))));
  const auto in_range = hn::And(hn::Gt(squares, hn::Set(d, 1e-30f)), hn::Lt(squares, hn::Set(d, 1e38f)));
  const V norm = hn::IfThenElse(in_range, hn::Sqrt(squares), bound);
  const V factor =
      hn::Min(hn::Div(hn::Set(d, limits.largest), largest), hn::Div(hn::Set(d, limits.norm), norm));
  return hn::IfThenElseZero(hn::Ge(largest, hn::Set(d, 1e-30f)), factor);
}

HWY_INLINE float CodeFactor(float largest) { return largest >= 1e-30f ? kLargestCode / largest : 0.0f; }

// Rows in whole numbers: codes [pieces][rows][16], and what a row's are worth.
struct CodedRows {
  const int16_t* codes;
  const float* worth;  // [rows]
};

// [ceil(n / 16)][rows][16]
struct RowBlock {
  const float* values;
  size_t rows, n;
};

// Codes of a block of up to kMaxCodedBlock rows, in the same order; what follows a row's last value must
// be 0. They may take the front half of the values' own memory, and what they are worth the back.
inline constexpr size_t kMaxCodedBlock = 16;
inline void CodeRows(RowBlock block, CodeLimits limits, int16_t* codes, float* codes_worth) {
  const size_t stride = block.rows * kPanelWidth, n_pieces = DivideUp(block.n, kPanelWidth);
  FloatVec factors[kMaxCodedBlock];
  float worth[kMaxCodedBlock];
  for (size_t r = 0; r < block.rows; ++r) {
    FloatVec largest = hn::Zero(FloatTag()), squares = largest, lost = largest;
    const float* row = block.values + r * kPanelWidth;
    for (size_t piece = 0; piece < n_pieces; ++piece, row += stride)
      for (size_t lane = 0; lane < kPanelWidth; lane += kLanes) {
        const FloatVec x = LoadFloats(row + lane);
        largest = hn::Max(largest, hn::Abs(x));
        squares = hn::MulAdd(x, x, squares);
        lost = hn::MulAdd(x, hn::Zero(FloatTag()), lost);  // NaN when x is not finite
      }
    factors[r] = CodeFactors(FloatTag(), hn::MaxOfLanes(FloatTag(), largest),
                             hn::SumOfLanes(FloatTag(), squares), block.n, limits);
    const float factor = hn::GetLane(factors[r]);
    worth[r] = (factor > 0 ? 1 / factor : 0) + hn::GetLane(hn::SumOfLanes(FloatTag(), lost));
  }
  const float* values = block.values;
  for (size_t piece = 0; piece < n_pieces; ++piece)
    for (size_t r = 0; r < block.rows; ++r, values += kPanelWidth, codes += kPanelWidth)
      for (size_t lane = 0; lane < kPanelWidth; lane += kLanes)
        StoreCodes(hn::Mul(LoadFloats(values + lane), factors[r]), codes + lane);
  std::memcpy(codes_worth, worth, block.rows * sizeof(float));
}

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
      const FloatVec scale = LoadFloats(scales + block * kPanelWidth + j * kLanes);
      for (size_t r = 0; r < kRows; ++r) {
        float* to = c + r * kPanelWidth + j * kLanes;
        const FloatVec sum = hn::ConvertTo(FloatTag(), acc[r * kPanelVecs + j]);
        const FloatVec worth = hn::Mul(scale, hn::Set(FloatTag(), rows.worth[r]));
        hn::StoreU(block == 0 ? hn::Mul(sum, worth) : hn::MulAdd(sum, worth, LoadFloats(to)), FloatTag(), to);
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
            hn::Mul(hn::ConvertTo(FloatTag(), acc[r * kPanelVecs + j]), hn::Set(FloatTag(), rows.worth[r]));
        const float keep = done ? 1.0f : alpha ? alpha[r] : 0.0f;
        hn::StoreU(keep == 0.0f ? sum : hn::MulAdd(LoadFloats(to), hn::Set(FloatTag(), keep), sum),
                   FloatTag(), to);
      }
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
