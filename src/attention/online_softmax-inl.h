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

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float kHidden = -std::numeric_limits<float>::infinity();

// 2^x for x <= 0: within 1.5e-7 relative down to -126, exactly 0 below -126.5 and for -inf; NaN stays NaN.
// Minimax polynomial of degree 5 on [-0.5, 0.5] (relative error 7.5e-8).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp2(D d, V x) {
  // Adding this leaves round(x) + 127 in the low mantissa bits: the exponent field of 2^round(x).
  const V shifter = hn::Set(d, 0x1.8p23f + 127.0f);
  x = hn::Max(hn::Set(d, -127.0f), x);  // in this order x86 keeps a NaN in x
  const V shifted = hn::Add(x, shifter);
  const V f = hn::Sub(x, hn::Sub(shifted, shifter));
  const hn::RebindToUnsigned<D> du;
  const V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  V p = hn::MulAdd(hn::Set(d, 0.0013276471f), f, hn::Set(d, 0.0096755413f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550713f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.2402212f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.69314697f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000001f));
  return hn::Mul(p, power);
}

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
  const V t = Exp2(d, hn::Mul(a, hn::Set(d, -2.88539008f)));  // e^-2|x|
  const V one = hn::Set(d, 1.0f);
  const V far = hn::CopySign(hn::Div(hn::Sub(one, t), hn::Add(one, t)), x);
  return hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625f)), near, far);
}

// One row's state between tiles.
struct RowState {
  float* row_max;  // largest score so far, kHidden before the first
  float* row_sum;  // [lanes] partial sums of 2^((score - row_max) * factor)
};

// Turns `n` scores (a multiple of the lanes) into weights 2^((score - maximum so far) * factor) and updates
// the state. Returns what earlier sums must be multiplied by.
template <class D>
HWY_INLINE float SoftmaxStep(D d, float* HWY_RESTRICT scores, size_t n, float factor, RowState state) {
  using V = hn::Vec<D>;
  V max0 = hn::Set(d, kHidden), max1 = max0;
  size_t i = 0;
  for (; i + 2 * hn::Lanes(d) <= n; i += 2 * hn::Lanes(d)) {
    max0 = hn::Max(max0, hn::LoadU(d, scores + i));
    max1 = hn::Max(max1, hn::LoadU(d, scores + i + hn::Lanes(d)));
  }
  if (i < n) max0 = hn::Max(max0, hn::LoadU(d, scores + i));
  const float tile_max = hn::GetLane(hn::MaxOfLanes(d, hn::Max(max0, max1)));

  float alpha = 1.0f;
  if (tile_max > *state.row_max) {
    alpha = std::exp2((*state.row_max - tile_max) * factor);
    *state.row_max = tile_max;
  }
  // While nothing has been seen every score is -inf: any finite base gives weights of 0 without inf - inf.
  const V base = hn::Set(d, *state.row_max == kHidden ? 0.0f : *state.row_max);
  const V scale = hn::Set(d, factor);
  const auto weight = [&](size_t at) HWY_ATTR {
    const V w = Exp2(d, hn::Mul(hn::Sub(hn::LoadU(d, scores + at), base), scale));
    hn::StoreU(w, d, scores + at);
    return w;
  };
  V sum0 = hn::Zero(d), sum1 = sum0;
  for (i = 0; i + 2 * hn::Lanes(d) <= n; i += 2 * hn::Lanes(d)) {
    sum0 = hn::Add(sum0, weight(i));
    sum1 = hn::Add(sum1, weight(i + hn::Lanes(d)));
  }
  if (i < n) sum0 = hn::Add(sum0, weight(i));
  const V before = hn::LoadU(d, state.row_sum);
  hn::StoreU(hn::MulAdd(before, hn::Set(d, alpha), hn::Add(sum0, sum1)), d, state.row_sum);
  return alpha;
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
