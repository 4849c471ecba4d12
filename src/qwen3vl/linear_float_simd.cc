// SPDX-License-Identifier: Apache-2.0
// Weights of any format times many activation rows in float32: every weight is converted once into a panel
// [column][weight row], which then meets all activation rows in register blocks.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qwen3vl/linear_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/linear_float_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
// Vectors of weight rows, and activation rows of a group: 24 of 32 registers are sums, or 12 of 16, and a
// step loads the least for its multiply-adds (4 + 6 values for 24, 3 + 4 for 12).
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kPanelVectors = 4, kFloatCols = 6;
#elif HWY_TARGET == HWY_SCALAR
constexpr size_t kPanelVectors = 4, kFloatCols = 2;
#else
constexpr size_t kPanelVectors = 3, kFloatCols = 4;
#endif
}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#include "qwen3vl/linear_panel-inl.h"
#include "qwen3vl/linear_unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {

constexpr size_t kFloatChunk = 256;  // columns of a panel: it stays in the first-level cache

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

constexpr size_t PaddedCols(size_t cols) { return (cols + 3) / 4 * 4; }

// The sums over k < n of panel[k][row] * group[k][c] go to the target; zeros up to a multiple of 4 columns
// follow. Four columns a turn: the loop's own additions compete with multiply-adds for their ports. The group
// after this one is fetched on the way.
HWY_NOINLINE void FloatKernel(const float* HWY_RESTRICT panel, const float* HWY_RESTRICT group, size_t n,
                              const TileTarget& to) {
  const DF d;
  PrefetchTile<kFloatCols>(to);
  VF acc[kPanelVectors][kFloatCols];
#pragma GCC unroll 16
  for (size_t c = 0; c < kFloatCols; ++c)
#pragma GCC unroll 4
    for (size_t r = 0; r < kPanelVectors; ++r) acc[r][c] = hn::Zero(d);
  for (size_t k = 0; k < n; k += 4, panel += 4 * kPanelRows, group += 4 * kFloatCols) {
    for (size_t i = 0; i < 4 * kFloatCols; i += 16) hw::PrefetchFar(group + n * kFloatCols + i);
#pragma GCC unroll 4
    for (size_t u = 0; u < 4; ++u) {
      VF w[kPanelVectors];
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r) w[r] = hn::Load(d, panel + u * kPanelRows + r * kLanes);
#pragma GCC unroll 16
      for (size_t c = 0; c < kFloatCols; ++c) {
        const VF a = hn::Set(d, group[u * kFloatCols + c]);
#pragma GCC unroll 4
        for (size_t r = 0; r < kPanelVectors; ++r) acc[r][c] = hn::MulAdd(w[r], a, acc[r][c]);
      }
    }
  }
  FinishTile<kFloatCols>(acc, to);
}

template <Format kFormat>
HWY_NOINLINE void PackFloatPanel(const ProductTask& task, size_t k, size_t n, float* panel) {
  const size_t rows = task.row_end - task.row_begin;
  Codes codes;
  alignas(64) float values[4][kFloatChunk];
  for (size_t row = 0; row < kPanelRows; row += 4) {
    PrefetchNextRows(task, row, k, n);
    if (rows < row + 4) std::memset(values, 0, sizeof values);
    for (size_t i = 0; i < 4 && row + i < rows; ++i)
      ConvertRow<kFormat>(task.w->row(task.row_begin + row + i), k, n, codes, values[i]);
    for (size_t at = 0; at < n; at += 4)
      TransposeWords(values[0] + at, values[1] + at, values[2] + at, values[3] + at,
                     [&](size_t j) HWY_ATTR { return panel + (at + j) * kPanelRows + row; });
  }
}

// Packed activations lie chunk by chunk, [chunk][group][column of the chunk][activation row]: what meets one
// panel is contiguous. Floats before the part of group g that belongs to the chunk at column k.
size_t GroupOffset(size_t cols, size_t n_groups, size_t g, size_t k) {
  const size_t chunk_cols = PaddedCols(cols - k < kFloatChunk ? cols - k : kFloatChunk);
  return (n_groups * k + g * chunk_cols) * kFloatCols;
}

template <Format kFormat>
void TileRowsFloatOf(const ProductTask& task) {
  const size_t cols = task.w->cols, n_groups = (task.y.rows + kFloatCols - 1) / kFloatCols;
  const auto* packed = reinterpret_cast<const float*>(task.packed);
  const auto panel_at = [&](size_t p) HWY_ATTR {
    return reinterpret_cast<float*>(task.scratch) + p * kFloatChunk * kPanelRows;
  };
  for (size_t k = 0; k < cols; k += kFloatChunk) {
    const size_t n = cols - k < kFloatChunk ? cols - k : kFloatChunk;
    MultiplyChunk<kFloatCols>(
        task, k == 0,
        [&](const ProductTask& panel, size_t p)
            HWY_ATTR { PackFloatPanel<kFormat>(panel, k, n, panel_at(p)); },
        [&](size_t p, size_t g, const TileTarget& to)
            HWY_ATTR { FloatKernel(panel_at(p), packed + GroupOffset(cols, n_groups, g, k), n, to); });
  }
}

void TileRowsFloat(const ProductTask& task) {
  ForFormat(task.w->format, [&]<Format kFormat>() HWY_ATTR { TileRowsFloatOf<kFormat>(task); });
}

void PackGroupFloat(hw::MatrixView<const float> x, size_t n_groups, size_t g, float* packed) {
  const size_t begin = g * kFloatCols;
  const size_t rows = x.rows - begin < kFloatCols ? x.rows - begin : kFloatCols;
  for (size_t k = 0; k < x.cols; k += kFloatChunk) {
    const size_t n = x.cols - k < kFloatChunk ? x.cols - k : kFloatChunk;
    float* group = packed + GroupOffset(x.cols, n_groups, g, k);
    if (rows < kFloatCols || n % 4) std::memset(group, 0, PaddedCols(n) * kFloatCols * sizeof(float));
    const auto row = [&](size_t c) HWY_ATTR { return x.row(begin + c) + k; };
    size_t c = 0;
    for (; c + 4 <= rows; c += 4) {
      size_t i = 0;
      for (; i + 4 <= n; i += 4)
        TransposeWords(row(c) + i, row(c + 1) + i, row(c + 2) + i, row(c + 3) + i,
                       [&](size_t j) HWY_ATTR { return group + (i + j) * kFloatCols + c; });
      for (; i < n; ++i)
        for (size_t j = c; j < c + 4; ++j) group[i * kFloatCols + j] = row(j)[i];
    }
    for (; c < rows; ++c)
      for (size_t i = 0; i < n; ++i) group[i * kFloatCols + c] = row(c)[i];
  }
}

TileInfo TileInfoFloat(size_t cols) {
  return {Packing::kFloat, kPanelRows, kFloatCols, PaddedCols(cols) * kFloatCols * sizeof(float),
          kFloatChunk * kPanelRows * sizeof(float)};
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(TileInfoFloat);
HWY_EXPORT(PackGroupFloat);
HWY_EXPORT(TileRowsFloat);

TileInfo TileInfoFloat(size_t cols) noexcept { return HWY_DYNAMIC_DISPATCH(TileInfoFloat)(cols); }
void PackGroupFloat(hw::MatrixView<const float> x, size_t n_groups, size_t g, float* packed) noexcept {
  HWY_DYNAMIC_DISPATCH(PackGroupFloat)(x, n_groups, g, packed);
}
void TileRowsFloat(const ProductTask& task) noexcept { HWY_DYNAMIC_DISPATCH(TileRowsFloat)(task); }
}  // namespace qwen3vl
#endif
