// SPDX-License-Identifier: Apache-2.0
// What both many-row products share: transposing four weight rows into a panel, the order of panels and
// groups, and the edges of the output. Include after hwy/highway.h, once per target, where kPanelVectors says
// how many vectors of 32-bit lanes, a weight row a lane, make a panel.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hw/prefetch.h"
#include "qwen3vl/linear_simd.h"

// Whether products of bytes come as pairs in int16, in which those of signed codes may not fit.
#define QWEN3VL_PAIR_PRODUCTS (HWY_TARGET <= HWY_SSE4 && HWY_TARGET > HWY_AVX3_DL)

#if defined(QWEN3VL_LINEAR_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_LINEAR_PANEL_INL_H_
#undef QWEN3VL_LINEAR_PANEL_INL_H_
#else
#define QWEN3VL_LINEAR_PANEL_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<int32_t>());
constexpr size_t kPanelRows = kPanelVectors * kLanes;  // weight rows
static_assert(kPanelRows % 4 == 0);

// Whether rows of a block format meet many activation rows as codes of 16 bits.
constexpr bool IsMultipliedInWords(hw::Format format) {
  return QWEN3VL_PAIR_PRODUCTS && hw::IsQuantized(format) && CodesOf(format).range == CodeRange::kSigned8;
}

// out(j)[0 .. 3] = the j-th 32-bit words of four rows, j = 0 .. 3.
template <class Out>
HWY_INLINE void TransposeWords(const void* row0, const void* row1, const void* row2, const void* row3,
                               const Out& out) {
#if HWY_TARGET == HWY_SCALAR
  const void* rows[4] = {row0, row1, row2, row3};
  for (size_t j = 0; j < 4; ++j)
    for (size_t r = 0; r < 4; ++r)
      std::memcpy(reinterpret_cast<uint8_t*>(out(j)) + 4 * r, static_cast<const uint8_t*>(rows[r]) + 4 * j,
                  4);
#else
  const hn::FixedTag<uint32_t, 4> d;
  const hn::FixedTag<uint64_t, 2> d64;
  const auto load = [&](const void* p) HWY_ATTR { return hn::LoadU(d, static_cast<const uint32_t*>(p)); };
  const auto store = [&](size_t j, hn::Vec<decltype(d64)> v)
                         HWY_ATTR { hn::StoreU(hn::BitCast(d, v), d, reinterpret_cast<uint32_t*>(out(j))); };
  const auto a = load(row0), b = load(row1), c = load(row2), e = load(row3);
  const auto ab_low = hn::BitCast(d64, hn::InterleaveLower(d, a, b));
  const auto ab_high = hn::BitCast(d64, hn::InterleaveUpper(d, a, b));
  const auto ce_low = hn::BitCast(d64, hn::InterleaveLower(d, c, e));
  const auto ce_high = hn::BitCast(d64, hn::InterleaveUpper(d, c, e));
  store(0, hn::InterleaveLower(d64, ab_low, ce_low));
  store(1, hn::InterleaveUpper(d64, ab_low, ce_low));
  store(2, hn::InterleaveLower(d64, ab_high, ce_high));
  store(3, hn::InterleaveUpper(d64, ab_high, ce_high));
#endif
}

// Asks for columns [k, k + n) of the four rows that are packed after the task's rows `row` .. row + 3. k is
// at the begin of a block. Pieces of rows end too soon for the processor to foresee the next one.
HWY_INLINE void PrefetchNextRows(const ProductTask& task, size_t row, size_t k, size_t n) {
  const hw::FormatInfo& info = hw::Info(task.w->format);
  const size_t begin = k / info.block_elements * info.block_bytes;
  const size_t end = (k + n) / info.block_elements * info.block_bytes;
  for (size_t r = task.row_begin + row + 4; r < task.row_begin + row + 8 && r < task.w->rows; ++r)
    for (size_t at = begin; at < end; at += 64) hw::PrefetchFar(task.w->row(r) + at);
}

// Where a kernel leaves a tile of kPanelRows weight rows: at[c * stride + r] = start[r] + sum, or += that.
struct TileTarget {
  float* at;
  size_t stride;
  const float* start;  // [kPanelRows]
  bool adds;
};

alignas(64) inline constexpr float kZeros[kPanelRows] = {};

// The part of y that belongs to a panel's task and activation rows from `col` on. The first columns of the
// weights start from the bias, and from y where sums accumulate.
HWY_INLINE TileTarget TargetOf(const ProductTask& task, size_t col, bool first) {
  return {task.y.row(col) + task.row_begin, task.y.row_stride,
          first && task.bias ? task.bias + task.row_begin : kZeros, !first || task.accumulate};
}

// Rows of y lie pages apart: no hardware prefetcher brings the tile before the kernel ends.
template <size_t kCols>
HWY_INLINE void PrefetchTile(const TileTarget& to) {
  for (size_t c = 0; c < kCols; ++c)
    for (size_t r = 0; r < kPanelRows; r += 16) hw::PrefetchFar(to.at + c * to.stride + r);
}

// Calls kernel(target) for a tile [kCols][kPanelRows] of y: with y itself, or where the tile sticks out of y,
// with a tile of which the part inside then goes there.
template <size_t kCols, class Kernel>
HWY_INLINE void WithTile(const ProductTask& task, size_t col, bool first, const Kernel& kernel) {
  const size_t rows = task.row_end - task.row_begin;
  const size_t cols = task.y.rows - col < kCols ? task.y.rows - col : kCols;
  const TileTarget to = TargetOf(task, col, first);
  if (rows == kPanelRows && cols == kCols) {
    kernel(to);
    return;
  }
  alignas(64) float tile[kCols * kPanelRows];
  kernel({tile, kPanelRows, kZeros, false});
  for (size_t c = 0; c < cols; ++c)
    for (size_t r = 0; r < rows; ++r) {
      float& y = to.at[c * to.stride + r];
      y = (to.adds ? y : 0.0f) + to.start[r] + tile[c * kPanelRows + r];
    }
}

// Sums of a kernel, [row vectors][kCols], to where they go.
template <size_t kCols>
HWY_INLINE void FinishTile(const hn::Vec<hn::ScalableTag<float>> (&sum)[kPanelVectors][kCols],
                           const TileTarget& target) {
  const hn::ScalableTag<float> d;
  const TileTarget to = target;  // of which the compiler knows that stores leave it alone
  const auto store = [&](auto adds) HWY_ATTR {
#pragma GCC unroll 4
    for (size_t r = 0; r < kPanelVectors; ++r) {
      const auto start = hn::LoadU(d, to.start + r * kLanes);
#pragma GCC unroll 16
      for (size_t c = 0; c < kCols; ++c) {
        float* p = to.at + c * to.stride + r * kLanes;
        hn::StoreU(hn::Add(adds ? hn::Add(hn::LoadU(d, p), start) : start, sum[r][c]), d, p);
      }
    }
  };
  to.adds ? store(std::true_type()) : store(std::false_type());
}

// One chunk of columns, the first or a later one: pack(panel task, panel) for all panels of the task, which
// then meet a few groups of activations at a time by kernel(panel, group, target). The packed panels and
// those groups stay in the second-level cache, one panel and one group in the first; the loop order of Goto
// and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
template <size_t kCols, class Pack, class Kernel>
HWY_INLINE void MultiplyChunk(const ProductTask& task, bool first_chunk, const Pack& pack,
                              const Kernel& kernel) {
  constexpr size_t kGroupsAtATime = 32 / kCols;
  const size_t rows = task.row_end - task.row_begin;
  const size_t n_panels = (rows + kPanelRows - 1) / kPanelRows;
  const size_t n_groups = (task.y.rows + kCols - 1) / kCols;
  const auto panel_task = [&](size_t p) HWY_ATTR {
    ProductTask panel = task;
    panel.row_begin += p * kPanelRows;
    panel.row_end = p + 1 < n_panels ? panel.row_begin + kPanelRows : task.row_end;
    return panel;
  };
  for (size_t p = 0; p < n_panels; ++p) pack(panel_task(p), p);
  for (size_t first = 0; first < n_groups; first += kGroupsAtATime) {
    const size_t end = n_groups - first < kGroupsAtATime ? n_groups : first + kGroupsAtATime;
    for (size_t p = 0; p < n_panels; ++p) {
      const ProductTask panel = panel_task(p);
      for (size_t g = first; g < end; ++g)
        WithTile<kCols>(panel, g * kCols, first_chunk,
                        [&](const TileTarget& to) HWY_ATTR { kernel(p, g, to); });
    }
  }
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // QWEN3VL_LINEAR_PANEL_INL_H_
