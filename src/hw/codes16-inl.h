// SPDX-License-Identifier: Apache-2.0
// Numbers as codes of 16 bits, so that one instruction multiplies twice as many of them as floats and adds
// them in pairs. A row of numbers has a scale of its own, as fine as lets no sum of products leave 32 bits.

// Per-target include guard.
#if defined(QWEN3VL_HW_CODES16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_HW_CODES16_INL_H_
#undef QWEN3VL_HW_CODES16_INL_H_
#else
#define QWEN3VL_HW_CODES16_INL_H_
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::hw::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;
inline constexpr float kLargestCode = 32767.0f;

// acc + a * b for both numbers of every pair, which are two in a lane, the first one in its low half.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4
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
// The product of two such norms, and of what rounding adds to them, stays below 2^31.
inline constexpr CodeLimits kNormLimits{kLargestCode, 46000.0f};

// Values times this are codes within the limits; sums of n products of two such rows stay below the product
// of their norms (Cauchy-Schwarz). Where squares have left the range of floats, n times the largest one
// stands for their sum. Rows of which nothing reaches 1e-30 count as zeros.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CodeFactors(D d, V largest, V squares, size_t n, CodeLimits limits) {
  const auto in_range = hn::And(hn::Gt(squares, hn::Set(d, 1e-30f)), hn::Lt(squares, hn::Set(d, 1e38f)));
  const V by_norm = hn::Div(hn::Set(d, limits.norm), hn::Sqrt(squares));
  const V by_bound = hn::Div(hn::Set(d, limits.norm / std::sqrt(static_cast<float>(n))), largest);
  const V factor =
      hn::Min(hn::Div(hn::Set(d, limits.largest), largest), hn::IfThenElse(in_range, by_norm, by_bound));
  return hn::IfThenElseZero(hn::Ge(largest, hn::Set(d, 1e-30f)), factor);
}

// Codes times this are values again: the factor's inverse, or 0 where that is 0; NaN where a value was not
// finite, of which an infinity has made the largest one infinite, and NaN the squares NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CodeScales(D d, V factor, V largest, V squares) {
  const V zero = hn::Zero(d);
  const V lost = hn::Mul(largest, zero);  // NaN for an infinity
  const V scale = hn::Add(hn::IfThenElseZero(hn::Gt(factor, zero), hn::Div(hn::Set(d, 1), factor)), lost);
  return hn::IfThenElse(hn::IsNaN(squares), squares, scale);
}

inline constexpr size_t kPiece = 16;
inline constexpr size_t kPieceVectors = kPiece / HWY_LANES(float);
// [ceil(n / 16)][rows][16]
struct RowBlock {
  const float* values;
  size_t rows, n;
};

// Codes of a block of up to kMaxCodedBlock rows, in the same order; what follows a row's last value must
// be 0. They may take the front half of the values' own memory, and their scales the back.
inline constexpr size_t kMaxCodedBlock = 16;
inline void CodeRows(RowBlock block, CodeLimits limits, int16_t* codes, float* code_scales) {
  const size_t stride = block.rows * kPiece, n_pieces = (block.n + kPiece - 1) / kPiece;
  FloatVec factors[kMaxCodedBlock];
  float scales[kMaxCodedBlock];
  for (size_t r = 0; r < block.rows; ++r) {
    FloatVec largest[kPieceVectors], squares[kPieceVectors];
    for (size_t i = 0; i < kPieceVectors; ++i) largest[i] = squares[i] = hn::Zero(FloatTag());
    const float* row = block.values + r * kPiece;
    for (size_t piece = 0; piece < n_pieces; ++piece, row += stride)
      for (size_t i = 0; i < kPieceVectors; ++i) {
        const FloatVec x = hn::LoadU(FloatTag(), row + i * HWY_LANES(float));
        largest[i] = hn::Max(largest[i], hn::Abs(x));
        squares[i] = hn::MulAdd(x, x, squares[i]);
      }
    for (size_t i = 1; i < kPieceVectors; ++i) {
      largest[0] = hn::Max(largest[0], largest[i]);
      squares[0] = hn::Add(squares[0], squares[i]);
    }
    const FloatVec most = hn::MaxOfLanes(FloatTag(), largest[0]);
    const FloatVec norm = hn::SumOfLanes(FloatTag(), squares[0]);
    factors[r] = CodeFactors(FloatTag(), most, norm, block.n, limits);
    scales[r] = hn::GetLane(CodeScales(FloatTag(), factors[r], most, norm));
  }
  const float* values = block.values;
  for (size_t piece = 0; piece < n_pieces; ++piece)
    for (size_t r = 0; r < block.rows; ++r, values += kPiece, codes += kPiece)
      for (size_t lane = 0; lane < kPiece; lane += HWY_LANES(float))
        StoreCodes(hn::Mul(hn::LoadU(FloatTag(), values + lane), factors[r]), codes + lane);
  std::memcpy(code_scales, scales, block.rows * sizeof(float));
}

}  // namespace qwen3vl::hw::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
