// SPDX-License-Identifier: Apache-2.0
// Weights times many activation rows in whole numbers of 16 bits: a row of weights and a row of activations
// have a scale for every 512 columns (hw/codes16-inl.h). The order of panels and groups is that of
// linear_float_simd.cc.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qwen3vl/linear_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/linear_int16_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
// Vectors of weight rows, and activation rows of a group: sums, a step's weights, an activation and a product
// fill the registers.
#if HWY_TARGET == HWY_SCALAR
constexpr size_t kPanelVectors = 4, kCodedCols = 2;
#elif HWY_TARGET <= HWY_AVX3
constexpr size_t kPanelVectors = 4, kCodedCols = 6;
#else
constexpr size_t kPanelVectors = 2, kCodedCols = 6;
#endif
}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#include "hw/codes16-inl.h"
#include "qwen3vl/linear_panel-inl.h"
#include "qwen3vl/linear_unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {

namespace {

namespace codes = hw::HWY_NAMESPACE;
using codes::FloatTag;
using codes::FloatVec;
using codes::IntVec;

// Columns that share scales. A panel of them stays in the first-level cache; with AVX-512 in the second,
// where 512 are still faster than 256.
constexpr size_t kChunk = 512;
constexpr size_t kStep = 16;  // columns are filled up with zeros to a multiple of these

constexpr size_t Padded(size_t n) { return (n + kStep - 1) / kStep * kStep; }
size_t ChunkAt(size_t cols, size_t k) { return cols - k < kChunk ? cols - k : kChunk; }

// Bytes of a chunk of n columns of a group: codes [n / 2][activation rows][2], scales [activation rows].
constexpr size_t GroupBytes(size_t n) { return (Padded(n) * sizeof(int16_t) + sizeof(float)) * kCodedCols; }
// Of a panel: codes [n / 2][weight rows][2], scales [weight rows].
constexpr size_t kPanelBytes = (kChunk * sizeof(int16_t) + sizeof(float)) * kPanelRows;

float* ScalesOf(std::byte* block, size_t n, size_t rows) {
  return reinterpret_cast<float*>(block + Padded(n) * rows * sizeof(int16_t));
}

// The sums over n columns of panel * group go to the target. The group after this one is fetched on the way.
HWY_NOINLINE void CodedKernel(const std::byte* panel, const std::byte* group, size_t n,
                              const TileTarget& to) {
  const FloatTag d;
  PrefetchTile<kCodedCols>(to);
  IntVec acc[kPanelVectors][kCodedCols];
#pragma GCC unroll 16
  for (size_t c = 0; c < kCodedCols; ++c)
#pragma GCC unroll 4
    for (size_t r = 0; r < kPanelVectors; ++r) acc[r][c] = hn::Zero(codes::IntTag());
  const auto* w = reinterpret_cast<const int16_t*>(panel);
  const auto* a = reinterpret_cast<const int16_t*>(group);
  for (size_t k = 0; k < Padded(n); k += kStep) {
    for (size_t i = 0; i < kStep * kCodedCols; i += 32) hw::PrefetchFar(a + GroupBytes(n) / sizeof *a + i);
#pragma GCC unroll 8
    for (size_t pair = 0; pair < kStep / 2; ++pair, w += 2 * kPanelRows, a += 2 * kCodedCols) {
      IntVec weights[kPanelVectors];
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r) weights[r] = codes::LoadPairs(w + r * 2 * kLanes);
#pragma GCC unroll 16
      for (size_t c = 0; c < kCodedCols; ++c) {
        const IntVec activation = codes::SetPair(a + 2 * c);
#pragma GCC unroll 4
        for (size_t r = 0; r < kPanelVectors; ++r)
          acc[r][c] = codes::AddProducts(acc[r][c], weights[r], activation);
      }
    }
  }
  const auto* weight_scales = reinterpret_cast<const float*>(w);
  const auto* scales = reinterpret_cast<const float*>(a);
  FloatVec sums[kPanelVectors][kCodedCols];
#pragma GCC unroll 4
  for (size_t r = 0; r < kPanelVectors; ++r) {
    const FloatVec scale = hn::LoadU(d, weight_scales + r * kLanes);
#pragma GCC unroll 16
    for (size_t c = 0; c < kCodedCols; ++c)
      sums[r][c] = hn::Mul(hn::ConvertTo(d, acc[r][c]), hn::Mul(scale, hn::Set(d, scales[c])));
  }
  FinishTile<kCodedCols>(sums, to);
}

// The codes of n values, which zeros follow up to a multiple of kStep, and their scale.
HWY_INLINE float CodeRow(const float* values, size_t n, int16_t* to) {
  float scale;
  codes::CodeRows({values, 1, n}, codes::kNormLimits, to, &scale);
  return scale;
}

// Columns [k, k + n) of a row of f32, f16 or bf16. Beyond a multiple of 4 of them, `values` are zeros.
template <Format kFormat>
HWY_INLINE float CodeFloats(const std::byte* row, size_t k, size_t n, float* values, int16_t* to) {
  Codes unused;
  ConvertRow<kFormat>(row, k, n, unused, values);
  return CodeRow(values, n, to);
}

#if QWEN3VL_PAIR_PRODUCTS
// Of signed bytes q with a scale for every 32: the code of q is q times the scale's share of the row's, which
// has 7 bits behind the point, so that its error stays below that of rounding the code.
template <Format kFormat>
HWY_INLINE float CodeBytes(const std::byte* row, size_t k, size_t n, int16_t* to) {
  constexpr size_t kBlock = hw::Info(kFormat).block_elements, kBytes = hw::Info(kFormat).block_bytes;
  const hn::CappedTag<int16_t, 32> d;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const hn::Repartition<int32_t, decltype(d)> d32;
  const hn::Repartition<float, decltype(d)> df;
  Codes codes[kChunk / 256];
  auto squares = hn::Zero(df);
  float largest = 0;
  for (size_t i = 0; i < n; i += 256) {
    const size_t count = n - i < 256 ? n - i : 256;
    Codes& part = codes[i / 256];
    Unpack<kFormat>(reinterpret_cast<const uint8_t*>(row) + (k + i) / kBlock * kBytes, count / 32, part);
    for (size_t s = 0; s < count / 32; ++s) {
      auto sums = hn::Zero(d32), unused = hn::Zero(d32);
      for (size_t j = 0; j < 32; j += hn::Lanes(d)) {
        const auto q = hn::PromoteTo(d, hn::LoadU(d8, reinterpret_cast<const int8_t*>(part.q) + 32 * s + j));
        sums = hn::ReorderWidenMulAccumulate(d32, q, q, sums, unused);
      }
      const auto scale = hn::Set(df, part.scale[s]);
      squares = hn::MulAdd(hn::ConvertTo(df, sums), hn::Mul(scale, scale), squares);
      largest = HWY_MAX(largest, std::abs(128 * part.scale[s]));
    }
  }
  const FloatTag one;
  const float norm = hn::GetLane(hn::SumOfLanes(df, squares));
  const FloatVec all = hn::Set(one, norm), most = hn::Set(one, largest);
  const FloatVec factor = codes::CodeFactors(one, most, all, n, codes::kNormLimits);
  const float shares_per_scale = 128 * hn::GetLane(factor);
  for (size_t i = 0; i < n; i += 32) {
    const Codes& part = codes[i / 256];
    const auto share =
        hn::Set(d, static_cast<int16_t>(std::lrint(part.scale[i % 256 / 32] * shares_per_scale)));
    for (size_t j = i % 256; j < i % 256 + 32; j += hn::Lanes(d)) {
      const auto q = hn::PromoteTo(d, hn::LoadU(d8, reinterpret_cast<const int8_t*>(part.q) + j));
      hn::StoreU(hn::MulFixedPoint15(hn::ShiftLeft<8>(q), share), d, to + i / 256 * 256 + j);
    }
  }
  return hn::GetLane(codes::CodeScales(one, factor, most, all));
}
#endif

template <Format kFormat>
HWY_NOINLINE void PackCodedPanel(const ProductTask& task, size_t k, size_t n, std::byte* panel) {
  const size_t rows = task.row_end - task.row_begin;
  [[maybe_unused]] alignas(64) float values[kChunk] = {};
  alignas(64) int16_t words[4][kChunk];
  float* scales = ScalesOf(panel, n, kPanelRows);
  for (size_t row = 0; row < kPanelRows; row += 4) {
    PrefetchNextRows(task, row, k, n);
    if (rows < row + 4) std::memset(words, 0, sizeof words);
    for (size_t i = 0; i < 4; ++i) {
      scales[row + i] = 0;
      if (row + i >= rows) continue;
      const std::byte* from = task.w->row(task.row_begin + row + i);
#if QWEN3VL_PAIR_PRODUCTS
      if constexpr (IsMultipliedInWords(kFormat)) {
        scales[row + i] = CodeBytes<kFormat>(from, k, n, words[i]);
        continue;
      }
#endif
      if constexpr (!hw::IsQuantized(kFormat))
        scales[row + i] = CodeFloats<kFormat>(from, k, n, values, words[i]);
    }
    for (size_t at = 0; at < Padded(n); at += 8)
      TransposeWords(words[0] + at, words[1] + at, words[2] + at, words[3] + at, [&](size_t j) HWY_ATTR {
        return panel + ((at / 2 + j) * kPanelRows + row) * 2 * sizeof(int16_t);
      });
  }
}

// Packed activations lie chunk by chunk, [chunk][group]: what meets one panel is contiguous. Bytes before the
// part of group g that belongs to the chunk at column k.
size_t GroupOffset(size_t cols, size_t n_groups, size_t g, size_t k) {
  return k / kChunk * n_groups * GroupBytes(kChunk) + g * GroupBytes(ChunkAt(cols, k));
}

template <Format kFormat>
void TileRowsInt16Of(const ProductTask& task) {
  const size_t cols = task.w->cols, n_groups = (task.y.rows + kCodedCols - 1) / kCodedCols;
  const auto panel_at = [&](size_t p) HWY_ATTR { return task.scratch + p * kPanelBytes; };
  for (size_t k = 0; k < cols; k += kChunk) {
    const size_t n = ChunkAt(cols, k);
    MultiplyChunk<kCodedCols>(
        task, k == 0,
        [&](const ProductTask& panel, size_t p)
            HWY_ATTR { PackCodedPanel<kFormat>(panel, k, n, panel_at(p)); },
        [&](size_t p, size_t g, const TileTarget& to)
            HWY_ATTR { CodedKernel(panel_at(p), task.packed + GroupOffset(cols, n_groups, g, k), n, to); });
  }
}

}  // namespace

void PackGroupInt16(hw::MatrixView<const float> x, size_t n_groups, size_t g, std::byte* packed) {
  const size_t begin = g * kCodedCols;
  const size_t rows = x.rows - begin < kCodedCols ? x.rows - begin : kCodedCols;
  alignas(64) float values[kChunk];
  alignas(64) int16_t words[kChunk];
  for (size_t k = 0; k < x.cols; k += kChunk) {
    const size_t n = ChunkAt(x.cols, k);
    std::byte* group = packed + GroupOffset(x.cols, n_groups, g, k);
    if (rows < kCodedCols) std::memset(group, 0, GroupBytes(n));
    for (size_t c = 0; c < rows; ++c) {
      std::memcpy(values, x.row(begin + c) + k, n * sizeof(float));
      std::memset(values + n, 0, (Padded(n) - n) * sizeof(float));
      ScalesOf(group, n, kCodedCols)[c] = CodeRow(values, n, words);
      for (size_t pair = 0; pair < Padded(n) / 2; ++pair)
        std::memcpy(group + (pair * kCodedCols + c) * 2 * sizeof(int16_t), words + 2 * pair,
                    2 * sizeof(int16_t));
    }
  }
}

void TileRowsInt16(const ProductTask& task) {
  ForFormat(task.w->format, [&]<Format kFormat>() HWY_ATTR {
    if constexpr (!hw::IsQuantized(kFormat) || IsMultipliedInWords(kFormat)) TileRowsInt16Of<kFormat>(task);
  });
}

TileInfo TileInfoInt16(size_t cols) {
  const size_t whole = cols / kChunk * GroupBytes(kChunk), rest = cols % kChunk;
  return {Packing::kInt16, kPanelRows, kCodedCols, whole + (rest ? GroupBytes(rest) : 0), kPanelBytes};
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(TileInfoInt16);
HWY_EXPORT(PackGroupInt16);
HWY_EXPORT(TileRowsInt16);

TileInfo TileInfoInt16(size_t cols) noexcept { return HWY_DYNAMIC_DISPATCH(TileInfoInt16)(cols); }
void PackGroupInt16(hw::MatrixView<const float> x, size_t n_groups, size_t g, std::byte* packed) noexcept {
  HWY_DYNAMIC_DISPATCH(PackGroupInt16)(x, n_groups, g, packed);
}
void TileRowsInt16(const ProductTask& task) noexcept { HWY_DYNAMIC_DISPATCH(TileRowsInt16)(task); }
}  // namespace qwen3vl
#endif
