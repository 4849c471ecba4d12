// SPDX-License-Identifier: Apache-2.0
// Products of streamed weight rows with few activation rows: what decoding does, bound by memory.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "hw/prefetch.h"
#include "qwen3vl/linear_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/linear_dot_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
//
#include "qwen3vl/linear_eight-inl.h"
#include "qwen3vl/linear_quantize-inl.h"
#include "qwen3vl/linear_unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {

void QuantizeActivationRow(const float* x, size_t cols, std::byte* out) {
  const size_t padded = QuantizedRow::Padded(cols);
  auto* q = reinterpret_cast<int8_t*>(out);
  auto* floats = reinterpret_cast<float*>(out + padded);
  QuantizedBlock block;
  for (size_t i = 0; i < padded; i += 32, q += 32) {
    const size_t begin = i < cols ? i : cols;
    QuantizePartialBlock(x + begin, cols - begin < 32 ? cols - begin : 32, block);
    std::memcpy(q, block.q, 32);
    float* step = floats + i / 256 * QuantizedRow::kFloatsPerStep;
    const size_t j = i % 256 / 32;
    step[j] = step[8 + 2 * j] = step[9 + 2 * j] = block.scale;
    step[24 + j] = block.sum[0] + block.sum[1];
    step[32 + 2 * j] = block.sum[0];
    step[33 + 2 * j] = block.sum[1];
  }
}

constexpr size_t kLineBytes = 64;

// Whether weights may pass the second cache: a single activation row of so many bytes reads them, and leaves
// the first cache room for what is asked for. Beside larger rows it is lost before it is read, and comes
// twice.
bool PassOnce(size_t rows, size_t row_bytes) {
  constexpr size_t kMostBytes = 12 * 1024;  // of 32 KiB
  return rows == 1 && row_bytes <= kMostBytes;
}

template <size_t kBytes>
HWY_INLINE void PrefetchAhead(const uint8_t* src, bool once) {
  const uint8_t* ahead = src + hw::kStreamAheadBytes;
#pragma GCC unroll 8
  for (size_t line = 0; line < kBytes; line += kLineBytes)
    once ? hw::PrefetchOnce(ahead + line) : hw::PrefetchFar(ahead + line);
}

// Codes a vector step takes, and the lanes that their sums come in.
#if HWY_TARGET <= HWY_AVX2
constexpr size_t kStep = 32;
#else
constexpr size_t kStep = 16;
#endif
using DSum = hn::CappedTag<float, kStep / 4>;
using VSum = hn::Vec<DSum>;
using DSumInt = hn::Rebind<int32_t, DSum>;

// Sums of q * a over kStep codes, spread over the lanes.
template <CodeRange kRange>
HWY_INLINE hn::Vec<DSumInt> DotStep(const uint8_t* q, const int8_t* a) {
#if HWY_TARGET <= HWY_AVX2
  __m256i u = _mm256_load_si256(reinterpret_cast<const __m256i*>(q));
  __m256i s = _mm256_load_si256(reinterpret_cast<const __m256i*>(a));
  if constexpr (kRange == CodeRange::kSigned8) {
    // |q| * (a with the sign of q); 128 * 127 * 2 fits int16.
    s = _mm256_sign_epi8(s, u);
    u = _mm256_abs_epi8(u);
  }
  return hn::Vec<DSumInt>{_mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1))};
#elif HWY_TARGET == HWY_SSE4
  __m128i u = _mm_load_si128(reinterpret_cast<const __m128i*>(q));
  __m128i s = _mm_load_si128(reinterpret_cast<const __m128i*>(a));
  if constexpr (kRange == CodeRange::kSigned8) {
    s = _mm_sign_epi8(s, u);
    u = _mm_abs_epi8(u);
  }
  return hn::Vec<DSumInt>{_mm_madd_epi16(_mm_maddubs_epi16(u, s), _mm_set1_epi16(1))};
#else
  int32_t sum = 0;
  for (size_t i = 0; i < kStep; ++i)
    sum += (kRange == CodeRange::kSigned8 ? static_cast<int8_t>(q[i]) : q[i]) * a[i];
  const DSumInt di;
  return hn::IfThenElseZero(hn::FirstN(di, 1), hn::Set(di, sum));
#endif
}

// Scales of 256 codes times those of their activations, a vector for each step: one value, or two halves.
template <size_t kSub>
class StepScales {
 public:
#if HWY_TARGET <= HWY_AVX2
  HWY_INLINE StepScales(const float* codes, const float* activations) {
    const DSum d;
    const auto product = [&](size_t s) HWY_ATTR {
      return hn::Mul(hn::Load(d, codes + s), hn::Load(d, activations + s));
    };
    // So that each step is left with one shuffle within halves: steps 0 to 3, then 4 to 7.
    if constexpr (kSub == 32) {
      const VSum all = product(0);
      of_four_[0] = hn::ConcatLowerLower(d, all, all);
      of_four_[1] = hn::ConcatUpperUpper(d, all, all);
    } else {
      const __m256i even_then_odd = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
      of_four_[0] = VSum{_mm256_permutevar8x32_ps(product(0).raw, even_then_odd)};
      of_four_[1] = VSum{_mm256_permutevar8x32_ps(product(8).raw, even_then_odd)};
    }
  }
  template <size_t kIndex>
  HWY_INLINE VSum Get() const {
    return hn::Broadcast<kIndex % 4>(of_four_[kIndex / 4]);
  }

 private:
  VSum of_four_[2];
#else
  HWY_INLINE StepScales(const float* codes, const float* activations) {
    for (size_t s = 0; s < 256 / kSub; ++s) scale_[s] = codes[s] * activations[s];
  }
  template <size_t kIndex>
  HWY_INLINE VSum Get() const {
    return hn::Set(DSum(), scale_[kIndex * kStep / kSub]);
  }

 private:
  float scale_[256 / kSub];
#endif
};

// Sums in flight: a multiply-add takes four cycles, and two can begin in each.
constexpr size_t kSums = 4;

// acc += products of the codes with their activations, step by step.
template <CodeInfo kInfo, size_t... I>
HWY_INLINE void AddSteps(const Codes& codes, const int8_t* a, const StepScales<kInfo.sub_block>& scales,
                         VSum (&acc)[kSums], std::index_sequence<I...>) {
  const DSum d;
  ((acc[I % kSums] = hn::MulAdd(hn::ConvertTo(d, DotStep<kInfo.range>(codes.q + I * kStep, a + I * kStep)),
                                scales.template Get<I>(), acc[I % kSums])),
   ...);
}

// The sum over acc grows by the products of the codes with 256 activations.
template <CodeInfo kInfo>
HWY_INLINE void DotCodes(const Codes& codes, const int8_t* a, const float* a_floats, VSum (&acc)[kSums]) {
  constexpr size_t kSub = kInfo.sub_block, kSubs = 256 / kSub;
  const DSum d;
  const float* a_scale = kSub == 32 ? a_floats : a_floats + 8;
  const float* a_sum = kSub == 32 ? a_floats + 24 : a_floats + 32;
  if constexpr (kInfo.range != CodeRange::kSigned8) {
#pragma GCC unroll 4
    for (size_t s = 0; s < kSubs; s += hn::Lanes(d)) {
      VSum& sum = acc[s / hn::Lanes(d) % kSums];
      sum = hn::NegMulAdd(hn::Load(d, codes.min + s), hn::Load(d, a_sum + s), sum);
    }
  }
  AddSteps<kInfo>(codes, a, StepScales<kSub>(codes.scale, a_scale), acc,
                  std::make_index_sequence<256 / kStep>());
}

HWY_INLINE void StoreSum(const ProductTask& task, size_t row, size_t col, float sum) {
  float* y = task.y.row(col) + row;
  if (task.bias) sum += task.bias[row];
  *y = task.accumulate ? *y + sum : sum;
}

template <Format kFormat>
HWY_INLINE float DotRowInt8(const uint8_t* src, size_t cols, const std::byte* x, bool once) {
  constexpr size_t kStepBytes = 256 / hw::Info(kFormat).block_elements * hw::Info(kFormat).block_bytes;
  const DSum d;
  const auto* a = reinterpret_cast<const int8_t*>(x);
  const auto* floats = reinterpret_cast<const float*>(x + QuantizedRow::Padded(cols));
  VSum acc[kSums] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (size_t k = 0; k < cols; k += 256, src += kStepBytes, floats += QuantizedRow::kFloatsPerStep) {
    PrefetchAhead<kStepBytes>(src, once);
    const size_t n_blocks = cols - k < 256 ? (cols - k) / 32 : 8;
    Codes codes;  // of this step alone: then they need not go through memory
    if (HWY_UNLIKELY(n_blocks < 8)) std::memset(codes.q, 0, sizeof codes.q);  // zeros beyond the columns
    Unpack<kFormat>(src, n_blocks, codes);
    DotCodes<CodesOf(kFormat)>(codes, a + k, floats, acc);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(acc[0], acc[1]), hn::Add(acc[2], acc[3]))));
}

#if HWY_TARGET <= HWY_AVX2
// N activation rows from `col` on.
template <Format kFormat, size_t N>
HWY_INLINE void DotInterleaved(const ProductTask& task, size_t row, size_t col) {
  const size_t cols = task.w->cols, stride = QuantizedRow::Bytes(cols);
  const auto* rows = reinterpret_cast<const uint8_t*>(task.w->interleaved + row * task.w->row_bytes());
  __m256 sum[N];
  DotEightRows<kFormat>(rows, cols, task.packed + col * stride, stride, sum);
  alignas(32) float sums[kInterleavedRows];
  for (size_t c = 0; c < N; ++c) {
    _mm256_store_ps(sums, sum[c]);
    for (size_t i = 0; i < kInterleavedRows; ++i) StoreSum(task, row + i, col + c, sums[i]);
  }
}

template <Format kFormat>
void DotInterleavedRows(const ProductTask& task) {
  for (size_t r = task.row_begin; r < task.row_end; r += kInterleavedRows) {
    for (size_t c = 0; c < task.x.rows; c += 4) switch (task.x.rows - c) {
        case 1:
          DotInterleaved<kFormat, 1>(task, r, c);
          break;
        case 2:
          DotInterleaved<kFormat, 2>(task, r, c);
          break;
        case 3:
          DotInterleaved<kFormat, 3>(task, r, c);
          break;
        default:
          DotInterleaved<kFormat, 4>(task, r, c);
      }
  }
}
#endif

template <Format kFormat>
void DotRowsInt8Of(const ProductTask& task) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (HasInterleaved(kFormat)) {
    if (task.w->interleaved) return DotInterleavedRows<kFormat>(task);
  }
#endif
  const size_t cols = task.w->cols, stride = QuantizedRow::Bytes(cols);
  const bool once = PassOnce(task.x.rows, stride);
  for (size_t r = task.row_begin; r < task.row_end; ++r)
    for (size_t c = 0; c < task.x.rows; ++c)
      StoreSum(task, r, c,
               DotRowInt8<kFormat>(reinterpret_cast<const uint8_t*>(task.w->row(r)), cols,
                                   task.packed + c * stride, once));
}

void DotRowsInt8(const ProductTask& task) {
  ForBlockFormat(task.w->format, [&]<Format kFormat>() HWY_ATTR { DotRowsInt8Of<kFormat>(task); });
}

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// Dot product of n weights, stored as kFormat (f32, f16, bf16) at any address, with floats.
template <Format kFormat>
HWY_INLINE float DotStored(const uint8_t* w, const float* x, size_t n, [[maybe_unused]] bool once) {
  constexpr size_t kBytes = hw::Info(kFormat).block_bytes;
  const DF d;
  VF sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const size_t lanes = hn::Lanes(d);
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    PrefetchAhead<4 * hn::MaxLanes(d) * kBytes>(w + i * kBytes, once);
#pragma GCC unroll 4
    for (size_t u = 0; u < 4; ++u) {
      const size_t at = i + u * lanes;
      sum[u] = hn::MulAdd(LoadStored<kFormat>(w + at * kBytes), hn::LoadU(d, x + at), sum[u]);
    }
  }
  for (; i + lanes <= n; i += lanes)
    sum[0] = hn::MulAdd(LoadStored<kFormat>(w + i * kBytes), hn::LoadU(d, x + i), sum[0]);
#endif
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
  for (; i < n; ++i) total += LoadOne<kFormat>(w + i * kBytes) * x[i];
  return total;
}

template <Format kFormat>
void DotRowsFloatOf(const ProductTask& task) {
  constexpr size_t kBlock = hw::Info(kFormat).block_elements, kBytes = hw::Info(kFormat).block_bytes;
  const size_t cols = task.w->cols, n = task.x.rows;
  [[maybe_unused]] const bool once = PassOnce(n, cols * sizeof(float));
  Codes codes;
  alignas(64) float values[256];
  for (size_t r = task.row_begin; r < task.row_end; ++r) {
    const auto* src = reinterpret_cast<const uint8_t*>(task.w->row(r));
    float sum[kMaxDotRows] = {};
    if constexpr (!hw::IsQuantized(kFormat)) {
      for (size_t c = 0; c < n; ++c) sum[c] = DotStored<kFormat>(src, task.x.row(c), cols, once);
    } else {
      for (size_t k = 0; k < cols; k += 256, src += 256 / kBlock * kBytes) {
        const size_t count = cols - k < 256 ? cols - k : 256;
        Unpack<kFormat>(src, count / 32, codes);
        ValuesOf<CodesOf(kFormat)>(codes, count, values);
        for (size_t c = 0; c < n; ++c)
          sum[c] += DotStored<Format::kF32>(reinterpret_cast<const uint8_t*>(values), task.x.row(c) + k,
                                            count, false);
      }
    }
    for (size_t c = 0; c < n; ++c) StoreSum(task, r, c, sum[c]);
  }
}

void DotRowsFloat(const ProductTask& task) {
  ForFormat(task.w->format, [&]<Format kFormat>() HWY_ATTR { DotRowsFloatOf<kFormat>(task); });
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(QuantizeActivationRow);
HWY_EXPORT(DotRowsInt8);
HWY_EXPORT(DotRowsFloat);

void QuantizeActivationRow(const float* x, size_t cols, std::byte* out) noexcept {
  HWY_DYNAMIC_DISPATCH(QuantizeActivationRow)(x, cols, out);
}
void DotRowsInt8(const ProductTask& task) noexcept { HWY_DYNAMIC_DISPATCH(DotRowsInt8)(task); }
void DotRowsFloat(const ProductTask& task) noexcept { HWY_DYNAMIC_DISPATCH(DotRowsFloat)(task); }
}  // namespace qwen3vl
#endif
