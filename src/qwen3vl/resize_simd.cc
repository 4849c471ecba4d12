// SPDX-License-Identifier: Apache-2.0
// Compiled once per instruction set, and without contraction of a * b + c: the float sums must not depend on
// whether the machine fuses them.
#include "qwen3vl/resize_simd.h"

#include "qwen3vl/resize_axis.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/resize_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One vector of sums at offset j.
template <class D>
void SumAt(D d32, const uint8_t* src, size_t stride, const int32_t* weights, size_t n_taps, size_t j,
           uint8_t* dst) {
  const hn::Rebind<uint8_t, D> d8;
  auto sum = hn::Set(d32, 1 << (kResizeFractionBits - 1));
  for (size_t k = 0; k < n_taps; ++k)
    sum = hn::Add(sum,
                  hn::Mul(hn::PromoteTo(d32, hn::LoadU(d8, src + k * stride + j)), hn::Set(d32, weights[k])));
  hn::StoreU(hn::DemoteTo(d8, hn::ShiftRight<kResizeFractionBits>(sum)), d8, dst + j);
}

template <class D>
void SumAt(D d, const float* src, size_t stride, const float* weights, size_t n_taps, size_t j, float* dst) {
  auto sum = hn::Mul(hn::LoadU(d, src + j), hn::Set(d, weights[0]));
  for (size_t k = 1; k < n_taps; ++k)
    sum = hn::Add(sum, hn::Mul(hn::LoadU(d, src + k * stride + j), hn::Set(d, weights[k])));
  hn::StoreU(sum, d, dst + j);
}

template <class Sample, class Weight>
void Sums(const Sample* src, size_t stride, const Weight* weights, size_t n_taps, size_t n, Sample* dst) {
  const hn::ScalableTag<Weight> d;
  const hn::CappedTag<Weight, 1> one;
  size_t j = 0;
  for (; j + hn::Lanes(d) <= n; j += hn::Lanes(d)) SumAt(d, src, stride, weights, n_taps, j, dst);
  for (; j < n; ++j) SumAt(one, src, stride, weights, n_taps, j, dst);
}

void SumsU8(const uint8_t* src, size_t stride, const int32_t* weights, size_t n_taps, size_t n,
            uint8_t* dst) {
  Sums(src, stride, weights, n_taps, n, dst);
}

void SumsF32(const float* src, size_t stride, const float* weights, size_t n_taps, size_t n, float* dst) {
  Sums(src, stride, weights, n_taps, n, dst);
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(SumsU8);
HWY_EXPORT(SumsF32);

void WeightedSum(const uint8_t* src, size_t stride, const int32_t* weights, size_t n_taps, size_t n,
                 uint8_t* dst) noexcept {
  HWY_DYNAMIC_DISPATCH(SumsU8)(src, stride, weights, n_taps, n, dst);
}

void WeightedSum(const float* src, size_t stride, const float* weights, size_t n_taps, size_t n,
                 float* dst) noexcept {
  HWY_DYNAMIC_DISPATCH(SumsF32)(src, stride, weights, n_taps, n, dst);
}
}  // namespace qwen3vl
#endif
