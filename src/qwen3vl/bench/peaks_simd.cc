// SPDX-License-Identifier: Apache-2.0
// The two loops of the peak measurement, once per instruction set.
#include <algorithm>

#include "hw/prefetch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/bench/peaks_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "qwen3vl/bench/peaks.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

// 12 independent chains: more than latency times units anywhere, and with two constants they fit 16
// registers. Values settle at 1: no overflow, no subnormals.
double Fma(size_t iterations, float* HWY_RESTRICT state) {
  const Tag d;
  const size_t n = hn::Lanes(d);
  const Vec factor = hn::Set(d, 0.5f), term = factor;
  const auto start = [&](size_t chain) { return hn::LoadU(d, state + chain * n); };
  Vec a = start(0), b = start(1), c = start(2), e = start(3), f = start(4), g = start(5);
  Vec h = start(6), i = start(7), j = start(8), k = start(9), l = start(10), m = start(11);
  for (size_t step = 0; step < iterations; ++step) {
    a = hn::MulAdd(a, factor, term);
    b = hn::MulAdd(b, factor, term);
    c = hn::MulAdd(c, factor, term);
    e = hn::MulAdd(e, factor, term);
    f = hn::MulAdd(f, factor, term);
    g = hn::MulAdd(g, factor, term);
    h = hn::MulAdd(h, factor, term);
    i = hn::MulAdd(i, factor, term);
    j = hn::MulAdd(j, factor, term);
    k = hn::MulAdd(k, factor, term);
    l = hn::MulAdd(l, factor, term);
    m = hn::MulAdd(m, factor, term);
  }
  const Vec ends[] = {a, b, c, e, f, g, h, i, j, k, l, m};
  for (size_t chain = 0; chain < 12; ++chain) hn::StoreU(ends[chain], d, state + chain * n);
  return 2.0 * 12.0 * static_cast<double>(n) * static_cast<double>(iterations);
}

// The block of a matrix product, 4 rows by 3 vectors.
double LoadedFma(size_t iterations, const float* HWY_RESTRICT operands, float* sum) {
  const Tag d;
  const size_t n = hn::Lanes(d), rounds = iterations / kLoadedSteps;
  Vec a = hn::Zero(d), b = a, c = a, e = a, f = a, g = a, h = a, i = a, j = a, k = a, l = a, m = a;
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t step = 0; step < kLoadedSteps; ++step) {
      const float* left = operands + step * kLoadedFloats;
      const float* right = left + kLoadedFloats / 4;
      const Vec r0 = hn::Load(d, right), r1 = hn::Load(d, right + n), r2 = hn::Load(d, right + 2 * n);
      Vec x = hn::Set(d, left[0]);
      a = hn::MulAdd(x, r0, a);
      b = hn::MulAdd(x, r1, b);
      c = hn::MulAdd(x, r2, c);
      x = hn::Set(d, left[1]);
      e = hn::MulAdd(x, r0, e);
      f = hn::MulAdd(x, r1, f);
      g = hn::MulAdd(x, r2, g);
      x = hn::Set(d, left[2]);
      h = hn::MulAdd(x, r0, h);
      i = hn::MulAdd(x, r1, i);
      j = hn::MulAdd(x, r2, j);
      x = hn::Set(d, left[3]);
      k = hn::MulAdd(x, r0, k);
      l = hn::MulAdd(x, r1, l);
      m = hn::MulAdd(x, r2, m);
    }
  }
  Vec all = hn::Zero(d);
  for (const Vec end : {a, b, c, e, f, g, h, i, j, k, l, m}) all = hn::Add(all, end);
  *sum = hn::GetLane(hn::SumOfLanes(d, all));
  return 2.0 * 12.0 * static_cast<double>(n * rounds * kLoadedSteps);
}

// Floats: the distance at which this loop, which does nothing else, is fastest.
constexpr size_t kFetchAhead = 1024;
constexpr size_t kLine = 16;

template <ReadWay kWay>
double ReadIn(const float* HWY_RESTRICT data, size_t count, float* sum) {
  const Tag d;
  const size_t n = hn::Lanes(d);
  Vec a = hn::Zero(d), b = a, c = a, e = a;
  for (size_t i = 0; i < count; i += 4 * n) {
    if constexpr (kWay == ReadWay::kAskAhead)
      for (size_t at = 0; at < 4 * n; at += kLine) hw::PrefetchFar(data + i + kFetchAhead + at);
    a = hn::Add(a, hn::LoadU(d, data + i));
    b = hn::Add(b, hn::LoadU(d, data + i + n));
    c = hn::Add(c, hn::LoadU(d, data + i + 2 * n));
    e = hn::Add(e, hn::LoadU(d, data + i + 3 * n));
  }
  *sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
  return static_cast<double>(count) * sizeof(float);
}

double Read(const float* data, size_t count, ReadWay way, float* sum) {
  return way == ReadWay::kPlain ? ReadIn<ReadWay::kPlain>(data, count, sum)
                                : ReadIn<ReadWay::kAskAhead>(data, count, sum);
}

}  // namespace qwen3vl::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl::bench {
HWY_EXPORT(Fma);
HWY_EXPORT(LoadedFma);
HWY_EXPORT(Read);

double RunFma(size_t iterations, float* state) noexcept {
  return HWY_DYNAMIC_DISPATCH(Fma)(iterations, state);
}
double RunLoadedFma(size_t iterations, const float* operands, float* sum) noexcept {
  return HWY_DYNAMIC_DISPATCH(LoadedFma)(iterations, operands, sum);
}
double RunRead(const float* data, size_t count, ReadWay way, float* sum) noexcept {
  return HWY_DYNAMIC_DISPATCH(Read)(data, count, way, sum);
}
}  // namespace qwen3vl::bench
#endif  // HWY_ONCE
