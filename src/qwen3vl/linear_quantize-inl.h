// SPDX-License-Identifier: Apache-2.0
// Activations to 8 bits. Include after hwy/highway.h, once per target.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(QWEN3VL_LINEAR_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_LINEAR_QUANTIZE_INL_H_
#undef QWEN3VL_LINEAR_QUANTIZE_INL_H_
#else
#define QWEN3VL_LINEAR_QUANTIZE_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 32 activations: x[i] ~ scale * q[i], |q| <= 127.
struct QuantizedBlock {
  alignas(32) int8_t q[32];
  float scale;
  float sum[2];  // scale * sum of q of either half
};

// Infinities and NaN give a NaN scale, so that they reach the result; a block of zeros gives zeros.
HWY_INLINE void QuantizeBlock(const float* x, QuantizedBlock& out) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t lanes = hn::Lanes(d);
  auto largest = hn::Zero(d);
  auto total = hn::Zero(d);  // not finite exactly when an element is not, or the sum overflows
  for (size_t i = 0; i < 32; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    largest = hn::Max(largest, hn::Abs(v));
    total = hn::Add(total, hn::Mul(v, hn::Zero(d)));
  }
  const float amax = hn::GetLane(hn::MaxOfLanes(d, largest));
  const float zero = hn::GetLane(hn::SumOfLanes(d, total));
  out.scale = amax / 127.0f + zero;
  const auto inverse = hn::Set(d, amax > 0 && zero == 0 ? 127.0f / amax : 0.0f);
  for (size_t half = 0; half < 2; ++half) {
    auto sum = hn::Zero(di);
    for (size_t i = 16 * half; i < 16 * half + 16; i += lanes) {
      const auto v = zero == 0 ? hn::Mul(hn::LoadU(d, x + i), inverse) : hn::Zero(d);
      // A subnormal maximum makes the inverse infinite: keep within range.
      const auto q = hn::NearestInt(hn::Min(hn::Max(v, hn::Set(d, -127.0f)), hn::Set(d, 127.0f)));
      sum = hn::Add(sum, q);
      hn::StoreU(hn::DemoteTo(d8, q), d8, out.q + i);
    }
    out.sum[half] = out.scale * static_cast<float>(hn::GetLane(hn::SumOfLanes(di, sum)));
  }
}

// x[0, n) with n <= 32; the rest counts as zeros.
HWY_INLINE void QuantizePartialBlock(const float* x, size_t n, QuantizedBlock& out) {
  if (HWY_LIKELY(n == 32)) return QuantizeBlock(x, out);
  float padded[32] = {};
  if (n) std::memcpy(padded, x, n * sizeof(float));
  QuantizeBlock(padded, out);
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // QWEN3VL_LINEAR_QUANTIZE_INL_H_
