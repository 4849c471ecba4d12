// SPDX-License-Identifier: Apache-2.0
// Products of many rows in whole numbers of 16 bits. One instruction multiplies twice as many of them as
// floats and adds them in pairs. Each row of q, each key, each row of weights and each dimension of a tile's
// values has a scale of its own, as fine as lets no sum leave 32 bits. Keys and values are coded where they
// were packed: codes take the front half of a panel of floats, the 16 scales follow them.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_INT16_TALL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_INT16_TALL_INL_H_
#undef QWEN3VL_ATTENTION_INT16_TALL_INL_H_
#else
#define QWEN3VL_ATTENTION_INT16_TALL_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "attention/int16_block-inl.h"
#include "attention/tiled.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using hw::HWY_NAMESPACE::CodeFactors;
using hw::HWY_NAMESPACE::CodeScales;
using hw::HWY_NAMESPACE::kNormLimits;
using hw::HWY_NAMESPACE::StorePairs;

// Where the scales of a panel of so many rows are.
inline float* PanelScales(float* panel, size_t rows) { return panel + rows * kPanelWidth / 2; }

// Codes of a float panel [n][16] in place, column by column: rows from `seen.begin` to `seen.end` count for
// the scales, and rows in whole pairs around them are coded, [n / 2][16][2]. n is even.
inline void CodePanel(float* panel, size_t n, KvRange seen) {
  FloatVec factors[kPanelVecs], scales[kPanelVecs];
  for (size_t j = 0; j < kPanelVecs; ++j) {
    FloatVec largest = hn::Zero(FloatTag()), squares = largest;
    for (size_t i = seen.begin; i < seen.end; ++i) {
      const FloatVec x = LoadFloats(panel + i * kPanelWidth + j * kLanes);
      largest = hn::Max(largest, hn::Abs(x));
      squares = hn::MulAdd(x, x, squares);
    }
    factors[j] = CodeFactors(FloatTag(), largest, squares, seen.size(), kNormLimits);
    scales[j] = CodeScales(FloatTag(), factors[j], largest, squares);
  }
  // Adding this leaves the whole number in the low mantissa bits.
  const FloatVec shifter = hn::Set(FloatTag(), 0x1.8p23f);
  const IntVec offset = hn::BitCast(IntTag(), shifter);
  int16_t* codes = reinterpret_cast<int16_t*>(panel);
  for (size_t i = seen.begin / 2 * 2; i < seen.end; i += 2)
    for (size_t j = 0; j < kPanelVecs; ++j) {
      const auto code = [&](size_t row) HWY_ATTR {
        const FloatVec x = hn::Mul(LoadFloats(panel + row * kPanelWidth + j * kLanes), factors[j]);
        return hn::Sub(hn::BitCast(IntTag(), hn::Add(x, shifter)), offset);
      };
      const IntVec pair = hn::Or(hn::And(code(i), hn::Set(IntTag(), 0xffff)), hn::ShiftLeft<16>(code(i + 1)));
      StorePairs(pair, codes + i * kPanelWidth + 2 * j * kLanes);
    }
  for (size_t j = 0; j < kPanelVecs; ++j)
    hn::StoreU(scales[j], FloatTag(), PanelScales(panel, n) + j * kLanes);
}

// acc[r][16 columns] = sums over `n` inner rows, an even number. a: [n / 16][kTallRows][16]; b: [n /
// 2][16][2].
template <size_t kRows>
HWY_INLINE void SumTall(const int16_t* a, const int16_t* b, size_t n, IntVec (&acc)[kRows * kPanelVecs]) {
  constexpr std::make_index_sequence<kRows * kPanelVecs> kAll{};
  for (IntVec& sum : acc) sum = hn::Zero(IntTag());
  for (; n >= kPanelWidth; n -= kPanelWidth, a += kTallRows * kPanelWidth, b += kPanelWidth * kPanelWidth)
#pragma GCC unroll 8
    for (size_t pair = 0; pair < kPanelWidth / 2; ++pair)
      PairStep<kRows>(acc, a + 2 * pair, b + pair * 2 * kPanelWidth, kAll);
  for (; n > 0; n -= 2, a += 2, b += 2 * kPanelWidth) PairStep<kRows>(acc, a, b, kAll);
}

// Rows whose accumulators, a vector of B, and the product to be added fit the registers.
constexpr size_t TallInt16Rows() {
  for (size_t rows : {12, 6, 4})
    if (rows * kPanelVecs + kPanelVecs + 2 <= kRegisters) return rows;
  return 2;
}

// c [kTallRows][16] = c * alpha + rows times inner rows `inner` (begin a multiple of 16, size even) of a
// coded panel of `n` rows; without alpha, c is overwritten. rows: from inner row `inner.begin` on.
HWY_NOINLINE void MultiplyInt16(CodedRows rows, KvRange inner, const float* panel, size_t n,
                                const float* alpha, float* c) {
  constexpr size_t kRows = TallInt16Rows();
  const int16_t* codes = reinterpret_cast<const int16_t*>(panel) + inner.begin * kPanelWidth;
  const float* scales = panel + n * kPanelWidth / 2;
  for (size_t row = 0; row < kTallRows; row += kRows) {
    IntVec acc[kRows * kPanelVecs];
    SumTall<kRows>(rows.codes + row * kPanelWidth, codes, inner.size(), acc);
    for (size_t r = 0; r < kRows; ++r)
      for (size_t j = 0; j < kPanelVecs; ++j) {
        float* to = c + (row + r) * kPanelWidth + j * kLanes;
        const FloatVec scale =
            hn::Mul(LoadFloats(scales + j * kLanes), hn::Set(FloatTag(), rows.scales[row + r]));
        const FloatVec sum = hn::Mul(hn::ConvertTo(FloatTag(), acc[r * kPanelVecs + j]), scale);
        const float keep = alpha ? alpha[row + r] : 0.0f;
        hn::StoreU(keep == 0.0f ? sum : hn::MulAdd(LoadFloats(to), hn::Set(FloatTag(), keep), sum),
                   FloatTag(), to);
      }
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
