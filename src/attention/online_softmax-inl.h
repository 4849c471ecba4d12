// SPDX-License-Identifier: Apache-2.0
// Vector parts of the softmax: 2^x, tanh for the softcap, and one step of the online softmax on a row of
// scores (Milakov and Gimelshein 2018, algorithm 3). A score times the task's factor is an exponent of 2; the
// factor is applied to the distance from the maximum, so that large scores lose nothing by it.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_ONLINE_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_ONLINE_SOFTMAX_INL_H_
#undef QWEN3VL_ATTENTION_ONLINE_SOFTMAX_INL_H_
#else
#define QWEN3VL_ATTENTION_ONLINE_SOFTMAX_INL_H_
#endif

#include <cmath>
#include <cstddef>
#include <limits>

#include "attention/kv_cache.h"
#include "attention/mask.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float kHidden = -std::numeric_limits<float>::infinity();

// 2^(x * factor) for x <= 0 and factor > 0: within 1.5e-7 relative down to 2^-126, exactly 0 below 2^-126.5
// and for -inf; NaN stays NaN. Minimax polynomial of degree 5 on [-0.5, 0.5] (relative error 7.5e-8).
// Smaller arguments count as 2^-126.75, whose exponent rounds to -127, a field of 0: from -127 itself the
// next number below would round to -128 and into the sign where an app lets products round down.
template <class D>
class Exp2 {
 public:
  using V = hn::Vec<D>;

  HWY_INLINE explicit Exp2(D d, float factor = 1.0f)
      : d_(d), factor_(hn::Set(d, factor)), least_(hn::Set(d, -126.75f / factor)) {}

  HWY_INLINE V operator()(V x) const {
    // Adding this leaves round(x) + 127 in the low mantissa bits: the exponent field of 2^round(x).
    const V shifter = hn::Set(d_, 0x1.8p23f + 127.0f);
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4
    x = hn::Max(least_, x);  // in this order x86 keeps a NaN in x
#else
    x = hn::IfThenElse(hn::Lt(x, least_), least_, x);
#endif
    const V shifted = hn::MulAdd(x, factor_, shifter);
    const V f = hn::MulSub(x, factor_, hn::Sub(shifted, shifter));
    const hn::RebindToUnsigned<D> du;
    const V power = hn::BitCast(d_, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
    V p = hn::MulAdd(hn::Set(d_, 0.0013276471f), f, hn::Set(d_, 0.0096755413f));
    p = hn::MulAdd(p, f, hn::Set(d_, 0.05550713f));
    p = hn::MulAdd(p, f, hn::Set(d_, 0.2402212f));
    p = hn::MulAdd(p, f, hn::Set(d_, 0.69314697f));
    p = hn::MulAdd(p, f, hn::Set(d_, 1.0000001f));
    return hn::Mul(p, power);
  }

 private:
  D d_;
  V factor_, least_;
};

// tanh(x) within 2e-7 relative: an odd minimax polynomial near 0, else 1 - 2 / (e^2|x| + 1) with x's sign.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V a = hn::Abs(x);
  const V x2 = hn::Mul(x, x);
  V p = hn::MulAdd(hn::Set(d, -0.00565999f), x2, hn::Set(d, 0.020590988f));
  p = hn::MulAdd(p, x2, hn::Set(d, -0.053721068f));
  p = hn::MulAdd(p, x2, hn::Set(d, 0.13331127f));
  p = hn::MulAdd(p, x2, hn::Set(d, -0.3333326f));
  const V near = hn::MulAdd(hn::Mul(p, x2), x, x);
  const V t = Exp2<D>(d, 2.88539008f)(hn::Neg(a));  // e^-2|x|
  const V one = hn::Set(d, 1.0f);
  const V far = hn::CopySign(hn::Div(hn::Sub(one, t), hn::Add(one, t)), x);
  return hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), near, far);
}

// Which of the rows from `first` on, one a lane, are in `range`.
template <class D>
HWY_INLINE hn::Mask<D> AreWithin(D d, size_t first, KvRange range) {
  const hn::RebindToSigned<D> ints;
  // Lane numbers from a constant: counting from `first` on would go through memory.
  const auto row = hn::Add(hn::Iota(ints, 0), hn::Set(ints, static_cast<int32_t>(first)));
  const auto begin = hn::Set(ints, static_cast<int32_t>(range.begin));
  const auto end = hn::Set(ints, static_cast<int32_t>(range.end));
  return hn::RebindMask(d, hn::AndNot(hn::Lt(row, begin), hn::Lt(row, end)));
}

// Hides what a panel of scores whose first one is number `at` has outside of `shown`.
template <class D>
HWY_INLINE void HidePart(D d, float* panel, size_t at, KvRange shown) {
  for (size_t lane = 0; lane < kPanelRows; lane += hn::Lanes(d))
    hn::StoreU(
        hn::IfThenElse(AreWithin(d, at + lane, shown), hn::LoadU(d, panel + lane), hn::Set(d, kHidden)), d,
        panel + lane);
}

// One row of a block of scores: pieces of 16, `stride` floats apart.
struct RowPanels {
  float* at;
  size_t count;
  size_t stride;
};

// Largest of a row.
template <class D>
HWY_INLINE float LargestOf(D d, RowPanels row) {
  hn::Vec<D> max0 = hn::Set(d, kHidden), max1 = max0;
  const auto add = [&](hn::Vec<D>& max, const float* panel) HWY_ATTR {
    for (size_t lane = 0; lane < kPanelRows; lane += hn::Lanes(d))
      max = hn::Max(max, hn::LoadU(d, panel + lane));
  };
  size_t i = 0;
  for (; i + 2 <= row.count; i += 2) {
    add(max0, row.at + i * row.stride);
    add(max1, row.at + (i + 1) * row.stride);
  }
  if (i < row.count) add(max0, row.at + i * row.stride);
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(max0, max1)));
}

// What a step leaves for each row of a block; whole vectors, so `count` is rounded up to the lanes.
struct BlockMaxima {
  float* row_max;  // in: largest score before this tile, kHidden before the first; out: with this tile
  float* base;     // in: largest score of the tile; out: what to subtract from the scores
  float* alpha;    // out: what sums so far must be multiplied by, 2^((old maximum - new) * factor)
};

// For all rows at once: no branch on whether a maximum moved, which no predictor knows.
template <class D>
HWY_INLINE void UpdateMaxima(D d, size_t count, float factor, BlockMaxima m) {
  const Exp2<D> exp2(d, factor);
  for (size_t r = 0; r < count; r += hn::Lanes(d)) {
    const auto before = hn::LoadU(d, m.row_max + r);
    const auto now = hn::Max(before, hn::LoadU(d, m.base + r));
    // While nothing has been seen every score is -inf: any finite base gives weights of 0 without inf - inf.
    const auto base = hn::IfThenElse(hn::Eq(now, hn::Set(d, kHidden)), hn::Zero(d), now);
    const auto alpha = exp2(hn::Sub(before, base));
    hn::StoreU(now, d, m.row_max + r);
    hn::StoreU(base, d, m.base + r);
    hn::StoreU(hn::IfThenElse(hn::Eq(before, now), hn::Set(d, 1.0f), alpha), d, m.alpha + r);
  }
}

// Turns the scores of a row into weights 2^((score - base) * factor) and adds them to the row's lane sums
// [lanes], which are first multiplied by alpha.
template <class D>
HWY_INLINE void ScoresToWeights(D d, RowPanels row, float factor, float base, float alpha,
                                float* HWY_RESTRICT lane_sums) {
  using V = hn::Vec<D>;
  const Exp2<D> exp2(d, factor);
  const V base_vec = hn::Set(d, base);
  V sum0 = hn::Zero(d), sum1 = sum0;
  const auto weigh = [&](V& sum, float* panel) HWY_ATTR {
    for (size_t lane = 0; lane < kPanelRows; lane += hn::Lanes(d)) {
      const V w = exp2(hn::Sub(hn::LoadU(d, panel + lane), base_vec));
      hn::StoreU(w, d, panel + lane);
      sum = hn::Add(sum, w);
    }
  };
  size_t i = 0;
  for (; i + 2 <= row.count; i += 2) {
    weigh(sum0, row.at + i * row.stride);
    weigh(sum1, row.at + (i + 1) * row.stride);
  }
  if (i < row.count) weigh(sum0, row.at + i * row.stride);
  hn::StoreU(hn::MulAdd(hn::LoadU(d, lane_sums), hn::Set(d, alpha), hn::Add(sum0, sum1)), d, lane_sums);
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
