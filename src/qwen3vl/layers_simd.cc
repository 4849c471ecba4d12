// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/layers_simd.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/layers_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using DD = hn::ScalableTag<double>;
using VF = hn::Vec<DF>;
using VD = hn::Vec<DD>;

// Calls fn(vector) on every vector of x[0, n); the last, partial one is padded with zeros and its result cut.
template <class Fn>
HWY_INLINE void Map(const float* x, size_t n, float* y, const Fn& fn) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(fn(hn::LoadU(d, x + i), i), d, y + i);
  if (i == n) return;
  HWY_ALIGN float padded[hn::MaxLanes(d)] = {};
  for (size_t k = i; k < n; ++k) padded[k - i] = x[k];
  hn::Store(fn(hn::Load(d, padded), i), d, padded);
  for (size_t k = i; k < n; ++k) y[k] = padded[k - i];
}

// Vector of v[i ..], zeros beyond n.
HWY_INLINE VF LoadUpTo(const float* v, size_t i, size_t n) {
  const DF d;
  if (HWY_LIKELY(i + hn::Lanes(d) <= n)) return hn::LoadU(d, v + i);
  HWY_ALIGN float padded[hn::MaxLanes(d)] = {};
  for (size_t k = i; k < n; ++k) padded[k - i] = v[k];
  return hn::Load(d, padded);
}

// Sum over i of fn(x[i]) with fn on double vectors: squares of any float neither overflow nor vanish.
template <class Fn>
HWY_INLINE double SumInDouble(const float* x, size_t n, const Fn& fn) {
  const DD dd;
  const hn::Rebind<float, DD> dh;
  VD even = hn::Zero(dd), odd = hn::Zero(dd);
  const size_t lanes = hn::Lanes(dd);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Add(even, fn(hn::PromoteTo(dd, hn::LoadU(dh, x + i))));
    odd = hn::Add(odd, fn(hn::PromoteTo(dd, hn::LoadU(dh, x + i + lanes))));
  }
  double sum = hn::GetLane(hn::SumOfLanes(dd, hn::Add(even, odd)));
  for (; i < n; ++i) sum += hn::GetLane(fn(hn::Set(dd, static_cast<double>(x[i]))));
  return sum;
}

void RmsNormRow(const float* x, const float* w, size_t n, float eps, float* y) {
  const DF d;
  const double squares = SumInDouble(x, n, [](VD v) HWY_ATTR { return hn::Mul(v, v); });
  const double mean_square = squares / static_cast<double>(n);
  const VF inverse = hn::Set(d, static_cast<float>(1.0 / std::sqrt(mean_square + eps)));
  Map(x, n, y, [&](VF v, size_t i) HWY_ATTR { return hn::Mul(hn::Mul(v, inverse), LoadUpTo(w, i, n)); });
}

void LayerNormRow(const float* x, const float* w, const float* b, size_t n, float eps, float* y) {
  const DF d;
  const DD dd;
  const double mean = SumInDouble(x, n, [](VD v) HWY_ATTR { return v; }) / static_cast<double>(n);
  const VD mean_v = hn::Set(dd, mean);
  const double squares = SumInDouble(x, n, [&](VD v) HWY_ATTR {
    const VD centred = hn::Sub(v, mean_v);
    return hn::Mul(centred, centred);
  });
  const double variance = squares / static_cast<double>(n);
  const VF inverse = hn::Set(d, static_cast<float>(1.0 / std::sqrt(variance + eps)));
  // The mean as a sum of two floats: rounding it to one would cost rows with a small spread their digits.
  const float mean_high = static_cast<float>(mean);
  const VF high = hn::Set(d, mean_high);
  const VF low = hn::Set(d, static_cast<float>(mean - mean_high));
  Map(x, n, y, [&](VF v, size_t i) HWY_ATTR {
    const VF centred = hn::Sub(hn::Sub(v, high), low);
    return hn::MulAdd(hn::Mul(centred, inverse), LoadUpTo(w, i, n), LoadUpTo(b, i, n));
  });
}

// z / (1 + exp(-u)); the exponent is capped where the quotient is zero for any z in use.
HWY_INLINE VF TimesLogistic(VF z, VF u) {
  const DF d;
  const VF e = hn::Exp(d, hn::Min(hn::Neg(u), hn::Set(d, 88.0f)));
  return hn::Div(z, hn::Add(hn::Set(d, 1.0f), e));
}

void SwiGluRun(float* gate, const float* up, size_t n) {
  Map(gate, n, gate,
      [&](VF g, size_t i) HWY_ATTR { return hn::Mul(TimesLogistic(g, g), LoadUpTo(up, i, n)); });
}

// 0.5 (1 + tanh(a)) = 1 / (1 + exp(-2a)).
void GeluTanhRun(float* x, size_t n) {
  const DF d;
  const VF linear = hn::Set(d, 1.5957691216057308f);  // 2 sqrt(2 / pi)
  const VF cubic = hn::Set(d, 0.071354816272600f);    // 0.044715 of that
  Map(x, n, x, [&](VF z, size_t) HWY_ATTR {
    return TimesLogistic(z, hn::Mul(z, hn::MulAdd(hn::Mul(z, z), cubic, linear)));
  });
}

// 0.5 erfc(|z| / sqrt 2) = exp(-z^2 / 2) t P(t), t = 1 / (1 + 0.27 |z|). P interpolates at the Chebyshev
// nodes of 0 <= |z| <= 14; error of z times this, in exact arithmetic: 4.5e-9. gelu(z) = max(z, 0) - |z|
// times this.
void GeluErfRun(float* x, size_t n) {
  constexpr float kP[9] = {0.10772209305868247f, 0.10751860326349966f,  0.10198036699450386f,
                           0.07140606257655635f, 0.10927720639662516f,  -0.07121391689813815f,
                           0.1714446873121416f,  -0.12724211984043066f, 0.029107028208468423f};
  const DF d;
  const VF one = hn::Set(d, 1.0f), slope = hn::Set(d, 0.27f), minus_half = hn::Set(d, -0.5f);
  Map(x, n, x, [&](VF z, size_t) HWY_ATTR {
    const VF a = hn::Abs(z);
    const VF t = hn::Div(one, hn::MulAdd(slope, a, one));
    VF p = hn::Set(d, kP[8]);
    for (int k = 7; k >= 0; --k) p = hn::MulAdd(p, t, hn::Set(d, kP[k]));
    const VF tail = hn::Mul(hn::Exp(d, hn::Mul(minus_half, hn::Mul(z, z))), hn::Mul(p, t));
    return hn::NegMulAdd(a, tail, hn::Max(z, hn::Zero(d)));
  });
}

void AddScaledRun(const float* x, float a, size_t n, float* y) {
  const DF d;
  const VF scale = hn::Set(d, a);
  Map(y, n, y, [&](VF v, size_t i) HWY_ATTR { return hn::MulAdd(scale, LoadUpTo(x, i, n), v); });
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(RmsNormRow);
HWY_EXPORT(LayerNormRow);
HWY_EXPORT(SwiGluRun);
HWY_EXPORT(GeluTanhRun);
HWY_EXPORT(GeluErfRun);
HWY_EXPORT(AddScaledRun);

void RmsNormRow(const float* x, const float* w, size_t n, float eps, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(RmsNormRow)(x, w, n, eps, y);
}
void LayerNormRow(const float* x, const float* w, const float* b, size_t n, float eps, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(LayerNormRow)(x, w, b, n, eps, y);
}
void SwiGluRun(float* gate, const float* up, size_t n) noexcept {
  HWY_DYNAMIC_DISPATCH(SwiGluRun)(gate, up, n);
}
void GeluTanhRun(float* x, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(GeluTanhRun)(x, n); }
void GeluErfRun(float* x, size_t n) noexcept { HWY_DYNAMIC_DISPATCH(GeluErfRun)(x, n); }
void AddScaledRun(const float* x, float a, size_t n, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(AddScaledRun)(x, a, n, y);
}
}  // namespace qwen3vl
#endif
