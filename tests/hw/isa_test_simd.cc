// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hw/isa_test_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "hw/isa_test_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::hw::HWY_NAMESPACE {

KernelAnswer Answer() {
  const size_t vector_bytes = hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<uint8_t>());
  switch (HWY_TARGET) {
    case HWY_AVX3_DL:
      return {Isa::kAvx512Vnni, vector_bytes};
    case HWY_AVX3:
      return {Isa::kAvx512, vector_bytes};
    case HWY_AVX2:
      return {Isa::kAvx2, vector_bytes};
    case HWY_SSE4:
      return {Isa::kSse4, vector_bytes};
    default:
      return {Isa::kBaseline, vector_bytes};
  }
}

}  // namespace qwen3vl::hw::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl::hw {
HWY_EXPORT(Answer);
KernelAnswer AskKernel() { return HWY_DYNAMIC_DISPATCH(Answer)(); }
}  // namespace qwen3vl::hw
#endif  // HWY_ONCE
