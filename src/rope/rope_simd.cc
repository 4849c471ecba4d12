// SPDX-License-Identifier: Apache-2.0
#include "rope/rope_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rope/rope_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::rope::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void RotateRow(const float* HWY_RESTRICT cos, const float* HWY_RESTRICT sin, size_t half, size_t n_heads,
               float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t head = 0; head < n_heads; ++head) {
    float* HWY_RESTRICT low = x + head * 2 * half;
    float* HWY_RESTRICT high = low + half;
    size_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto c = hn::LoadU(d, cos + i);
      const auto s = hn::LoadU(d, sin + i);
      const auto a = hn::LoadU(d, low + i);
      const auto b = hn::LoadU(d, high + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, low + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, high + i);
    }
    for (; i < half; ++i) {
      const float a = low[i], b = high[i];
      low[i] = a * cos[i] - b * sin[i];
      high[i] = b * cos[i] + a * sin[i];
    }
  }
}

}  // namespace qwen3vl::rope::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl::rope {
HWY_EXPORT(RotateRow);
void RotateRow(const float* cos, const float* sin, size_t half, size_t n_heads, float* x) noexcept {
  HWY_DYNAMIC_DISPATCH(RotateRow)(cos, sin, half, n_heads, x);
}
}  // namespace qwen3vl::rope
#endif
