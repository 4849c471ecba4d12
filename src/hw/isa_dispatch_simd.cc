// SPDX-License-Identifier: Apache-2.0
// Compiled once per instruction set, like every kernel, so that it can tell which of them a kernel gets.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hw/isa_dispatch_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "hw/isa_dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::hw::HWY_NAMESPACE {
int64_t CompiledTarget() { return HWY_TARGET; }
}  // namespace qwen3vl::hw::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl::hw {
namespace {

HWY_EXPORT(CompiledTarget);

Isa IsaOfTarget(int64_t target) {
  switch (target) {
#if HWY_ARCH_X86
    case HWY_AVX3_DL:
      return Isa::kAvx512Vnni;
    case HWY_AVX3:
      return Isa::kAvx512;
    case HWY_AVX2:
      return Isa::kAvx2;
    case HWY_SSE4:
      return Isa::kSse4;
#endif
    default:
      return Isa::kBaseline;
  }
}

// Highway numbers its targets best first: the bits below a target are the better ones.
int64_t BetterTargets(Isa isa) {
#if HWY_ARCH_X86
  switch (isa) {
    case Isa::kAvx512Vnni:
      return HWY_AVX3_DL - 1;
    case Isa::kAvx512:
      return HWY_AVX3 - 1;
    case Isa::kAvx2:
      return HWY_AVX2 - 1;
    case Isa::kSse4:
      return HWY_SSE4 - 1;
    case Isa::kBaseline:
      return (HWY_SSE4 << 1) - 1;
  }
#endif
  static_cast<void>(isa);
  return 0;
}

}  // namespace

std::vector<Isa> DetectIsas() {
  std::vector<Isa> isas;
  // The portable code is compiled unless the whole build requires more.
  if (HWY_TARGETS & (HWY_EMU128 | HWY_SCALAR)) isas.push_back(Isa::kBaseline);
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  for (int bit = 62; bit >= 0; --bit) {
    if (!(usable >> bit & 1)) continue;
    const Isa isa = IsaOfTarget(int64_t{1} << bit);
    if (isas.empty() || isas.back() < isa) isas.push_back(isa);
  }
  return isas;
}

void RestrictDispatch(Isa isa) {
  // Each call replaces the set of the one before. It also makes the next dispatch choose anew.
  hwy::DisableTargets(BetterTargets(isa));
}

Isa DispatchedIsa() { return IsaOfTarget(HWY_DYNAMIC_DISPATCH(CompiledTarget)()); }

}  // namespace qwen3vl::hw
#endif  // HWY_ONCE
