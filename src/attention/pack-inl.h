// SPDX-License-Identifier: Apache-2.0
// Brings keys and values of a tile into the form that products read: f32 key panels [one dimension of 16
// rows side by side] and f32 value strips (kv_cache.h has the picture). From a cache this is a
// conversion along memory; from rows of a plain tensor, keys are transposed.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_PACK_INL_H_
#undef QWEN3VL_ATTENTION_PACK_INL_H_
#else
#define QWEN3VL_ATTENTION_PACK_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "attention/multiply_block-inl.h"
#include "attention/row_codec.h"
#include "attention/tiled.h"
#include "hw/prefetch.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// n elements, a multiple of 16, to float.
template <class Stored>
void ConvertRun(const Stored* from, size_t n, float* HWY_RESTRICT to) {
  for (size_t i = 0; i < n; i += kLanes) hn::StoreU(LoadFloats(from + i), FloatTag(), to + i);
}

HWY_INLINE const hw::F16* AsF16(const uint16_t* bits) { return reinterpret_cast<const hw::F16*>(bits); }

// The two whole numbers of each pair, as floats.
struct FloatPair {
  FloatVec first, second;
};
HWY_INLINE FloatPair LoadFloatPairs(const int8_t* p) {
  const hn::RebindToSigned<FloatTag> ints;
  const hn::Rebind<int16_t, FloatTag> pairs;
  const auto both = hn::PromoteTo(ints, hn::LoadU(pairs, reinterpret_cast<const int16_t*>(p)));
  return {hn::ConvertTo(FloatTag(), hn::ShiftRight<24>(hn::ShiftLeft<24>(both))),
          hn::ConvertTo(FloatTag(), hn::ShiftRight<8>(both))};
}

// A q8_0 key panel [head_dim / 2][16][2] with scales [head_dim / 32][16].
HWY_INLINE void DequantizePanel(const int8_t* from, const uint16_t* scales, size_t head_dim,
                                float* HWY_RESTRICT to) {
  for (size_t lane = 0; lane < kPanelRows; lane += kLanes)
    for (size_t block = 0; block < head_dim / 32; ++block) {
      const FloatVec scale = LoadFloats(AsF16(scales + block * kPanelRows + lane));
      for (size_t d = block * 32; d < block * 32 + 32; d += 2) {
        const FloatPair values = LoadFloatPairs(from + d * kPanelRows + 2 * lane);
        hn::StoreU(hn::Mul(values.first, scale), FloatTag(), to + d * kPanelRows + lane);
        hn::StoreU(hn::Mul(values.second, scale), FloatTag(), to + (d + 1) * kPanelRows + lane);
      }
    }
}

// n rows of a q8_0 value strip, [n / 2][16][2], one scale a row. `to` has room for an even number.
HWY_INLINE void DequantizeStrip(const int8_t* from, const uint16_t* scales, size_t n,
                                float* HWY_RESTRICT to) {
  for (size_t i = 0; i < n; i += 2) {
    const FloatVec scale0 = hn::Set(FloatTag(), hw::ToFloat(hw::F16{scales[i]}));
    const FloatVec scale1 = hn::Set(FloatTag(), hw::ToFloat(hw::F16{scales[i + 1]}));
    for (size_t lane = 0; lane < kStripCols; lane += kLanes) {
      const FloatPair values = LoadFloatPairs(from + i * kStripCols + 2 * lane);
      hn::StoreU(hn::Mul(values.first, scale0), FloatTag(), to + i * kStripCols + lane);
      hn::StoreU(hn::Mul(values.second, scale1), FloatTag(), to + (i + 1) * kStripCols + lane);
    }
  }
}

// Panels first .. first + n - 1 of a cache to f32 panels.
inline void PackCacheKeys(const KvHead& kv, size_t head_dim, size_t first, size_t n, float* to) {
  const size_t panel = head_dim * kPanelRows;
  switch (kv.k_format) {
    case hw::Format::kF32:
      return ConvertRun(reinterpret_cast<const float*>(kv.k) + first * panel, n * panel, to);
    case hw::Format::kF16:
      return ConvertRun(reinterpret_cast<const hw::F16*>(kv.k) + first * panel, n * panel, to);
    case hw::Format::kBF16:
      return ConvertRun(reinterpret_cast<const hw::BF16*>(kv.k) + first * panel, n * panel, to);
    default:
      for (size_t i = 0; i < n; ++i)
        DequantizePanel(reinterpret_cast<const int8_t*>(kv.k) + (first + i) * panel,
                        kv.k_scales + (first + i) * (head_dim / 32) * kPanelRows, head_dim, to + i * panel);
  }
}

// Rows first .. first + n - 1 of a cache's strips to f32 strips that are to_stride floats apart; first is
// even, and there is room for an even number of rows.
inline void PackCacheValues(const KvHead& kv, size_t head_dim, size_t first, size_t n, float* to,
                            size_t to_stride) {
  for (size_t strip = 0; strip < DivideUp(head_dim, kStripCols); ++strip, to += to_stride) {
    const size_t at = (strip * kv.padded_length + first) * kStripCols;
    switch (kv.v_format) {
      case hw::Format::kF32:
        ConvertRun(reinterpret_cast<const float*>(kv.v) + at, n * kStripCols, to);
        break;
      case hw::Format::kF16:
        ConvertRun(reinterpret_cast<const hw::F16*>(kv.v) + at, n * kStripCols, to);
        break;
      case hw::Format::kBF16:
        ConvertRun(reinterpret_cast<const hw::BF16*>(kv.v) + at, n * kStripCols, to);
        break;
      default:
        DequantizeStrip(reinterpret_cast<const int8_t*>(kv.v) + at,
                        kv.v_scales + strip * kStripCols / 32 * kv.padded_length + first, n, to);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// Dimensions d .. d + 3 of rows 0, 4, 8 ..: as many rows as the vector has blocks of four lanes.
HWY_INLINE FloatVec LoadQuartets(const float* const* rows, size_t d) {
#if HWY_MAX_BYTES == 64
  const hn::Half<FloatTag> d8;
  const hn::Half<decltype(d8)> d4;
  return hn::Combine(FloatTag(), hn::Combine(d8, hn::LoadU(d4, rows[12] + d), hn::LoadU(d4, rows[8] + d)),
                     hn::Combine(d8, hn::LoadU(d4, rows[4] + d), hn::LoadU(d4, rows[0] + d)));
#elif HWY_MAX_BYTES == 32
  const hn::Half<FloatTag> d4;
  return hn::Combine(FloatTag(), hn::LoadU(d4, rows[4] + d), hn::LoadU(d4, rows[0] + d));
#else
  return hn::LoadU(FloatTag(), rows[0] + d);
#endif
}
#endif  // HWY_TARGET != HWY_SCALAR

// 16 rows of head_dim floats -> panel [head_dim][16].
inline void TransposePanel(const float* const* rows, size_t head_dim, float* HWY_RESTRICT to) {
  size_t d = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag df;
  const hn::Repartition<double, FloatTag> dd;
  // One group of rows after the other: rows of a fused projection lie at strides that share cache sets, and
  // 16 of them at a time would throw each other out.
  for (size_t lane = 0; lane < kPanelRows; lane += kLanes)
    for (d = 0; d + 4 <= head_dim; d += 4) {
      const float* const* group = rows + lane;
      const FloatVec r0 = LoadQuartets(group, d), r1 = LoadQuartets(group + 1, d);
      const FloatVec r2 = LoadQuartets(group + 2, d), r3 = LoadQuartets(group + 3, d);
      const auto low01 = hn::BitCast(dd, hn::InterleaveLower(df, r0, r1));
      const auto low23 = hn::BitCast(dd, hn::InterleaveLower(df, r2, r3));
      const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(df, r0, r1));
      const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(df, r2, r3));
      float* at = to + d * kPanelRows + lane;
      hn::StoreU(hn::BitCast(df, hn::InterleaveLower(dd, low01, low23)), df, at);
      hn::StoreU(hn::BitCast(df, hn::InterleaveUpper(dd, low01, low23)), df, at + kPanelRows);
      hn::StoreU(hn::BitCast(df, hn::InterleaveLower(dd, high01, high23)), df, at + 2 * kPanelRows);
      hn::StoreU(hn::BitCast(df, hn::InterleaveUpper(dd, high01, high23)), df, at + 3 * kPanelRows);
    }
#endif
  for (; d < head_dim; ++d)
    for (size_t i = 0; i < kPanelRows; ++i) to[d * kPanelRows + i] = rows[i][d];
}

// Row of a plain tensor as floats: in place where it is f32 and aligned, else converted into `staging`.
HWY_INLINE const float* FloatRow(hw::Format format, const std::byte* row, size_t head_dim, float* staging) {
  if (format == hw::Format::kF32 && reinterpret_cast<uintptr_t>(row) % alignof(float) == 0)
    return reinterpret_cast<const float*>(row);
  DecodeRow(format, row, head_dim, staging);
  return staging;
}

// Asks for the row that is packed kPrefetchRows later, if it is one of `n`. Rows lie a page or more apart,
// which no hardware sees a pattern in.
inline constexpr size_t kPrefetchRows = 16;
HWY_INLINE void PrefetchLater(const std::byte* row, size_t row_bytes, size_t bytes, size_t i, size_t n) {
  if (i + kPrefetchRows >= n) return;
  for (size_t byte = 0; byte < bytes; byte += 64) hw::PrefetchFar(row + kPrefetchRows * row_bytes + byte);
}

// Rows first .. first + n - 1 of plain keys to f32 panels; rows that fill up the last panel repeat the last
// one (their scores are never used). staging: [16, head_dim].
inline void PackPlainKeys(const KvHead& kv, size_t head_dim, size_t first, size_t n, float* staging,
                          float* to) {
  for (size_t done = 0; done < n; done += kPanelRows, to += kPanelRows * head_dim) {
    const float* rows[kPanelRows];
    for (size_t i = 0; i < kPanelRows; ++i) {
      if (done + i >= n) {
        rows[i] = rows[i - 1];
        continue;
      }
      const std::byte* row = kv.k + (first + done + i) * kv.k_row_bytes;
      PrefetchLater(row, kv.k_row_bytes, hw::RowBytes(kv.k_format, head_dim), done + i, n);
      rows[i] = FloatRow(kv.k_format, row, head_dim, staging + i * head_dim);
    }
    TransposePanel(rows, head_dim, to);
  }
}

// Rows first .. first + n - 1 of plain values to f32 strips, zeros past head_dim. staging: [head_dim].
inline void PackPlainValues(const KvHead& kv, size_t head_dim, size_t first, size_t n, float* staging,
                            float* to, size_t to_stride) {
  const size_t whole = head_dim / kStripCols;
  const size_t rest = head_dim % kStripCols;
  for (size_t i = 0; i < n; ++i) {
    const std::byte* stored = kv.v + (first + i) * kv.v_row_bytes;
    PrefetchLater(stored, kv.v_row_bytes, hw::RowBytes(kv.v_format, head_dim), i, n);
    const float* row = FloatRow(kv.v_format, stored, head_dim, staging);
    float* at = to + i * kStripCols;
    for (size_t strip = 0; strip < whole; ++strip)
      for (size_t lane = 0; lane < kStripCols; lane += kLanes)
        hn::StoreU(LoadFloats(row + strip * kStripCols + lane), FloatTag(), at + strip * to_stride + lane);
    if (rest == 0) continue;
    for (size_t lane = 0; lane < kStripCols; ++lane)
      at[whole * to_stride + lane] = lane < rest ? row[whole * kStripCols + lane] : 0.0f;
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
