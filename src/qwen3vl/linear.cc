// SPDX-License-Identifier: Apache-2.0
// Chooses the kernel by format and number of activation rows, and cuts the work into tasks. Every output is
// computed by one task in an order that depends on the shapes alone, so thread counts leave no trace.
#include "qwen3vl/linear.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/checked.h"
#include "hw/cpu_info.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/linear_simd.h"

namespace qwen3vl {
namespace {

// Activation rows packed at a time, a multiple of every kernel's group: bounds scratch memory, and the packed
// rows stay in the shared cache.
constexpr size_t kGroupMultiple = 84;
constexpr size_t kMaxPackedRows = 7 * kGroupMultiple;
// Weight rows of a tiled task: its panels take half of the second-level cache, activations have the rest.
constexpr size_t kMaxTaskPanels = 16;
constexpr size_t kTasksPerThread = 16;
// Bytes of weights that a streaming task reads at least.
constexpr size_t kMinStreamBytes = 64 * 1024;

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

bool UsesInt8(const LinearPart& part) {
  return hw::IsQuantized(part.w->format) && part.options.precision != Precision::kExact;
}

TileInfo TileOf(const LinearPart& part) {
  if (UsesInt8(part)) return TileInfoQuantized(part.w->format, part.w->cols);
  const bool int16 = part.options.precision == Precision::kInt16 ||
                     (part.options.precision == Precision::kAuto && part.w->format != hw::Format::kF32);
  return int16 ? TileInfoInt16(part.w->cols) : TileInfoFloat(part.w->cols);
}

// How one part of the group is computed, and the tasks it is cut into.
struct PartPlan {
  const LinearPart* part = nullptr;
  bool int8 = false;
  TileInfo tile{};  // many activation rows only
  const std::byte* packed = nullptr;
  size_t rows_per_task = 1;
  size_t n_tasks = 0;
  size_t scratch_bytes = 0;  // of each thread
};

// The activation rows of one pass in the forms that its kernels read, each made at most once.
class PackedActivations {
 public:
  PackedActivations(hw::MatrixView<const float> x, hw::Threads threads) : x_(x), threads_(threads) {}

  // For DotRowsInt8.
  const std::byte* Rows() {
    hw::AlignedBuffer<std::byte>& rows = forms_[3];
    if (rows.size()) return rows.data();
    const size_t bytes = QuantizedRow::Bytes(x_.cols);
    rows.Reserve(hw::CheckedMul(x_.rows, bytes, "activations in 8 bits"));
    for (size_t r = 0; r < x_.rows; ++r) QuantizeActivationRow(x_.row(r), x_.cols, rows.data() + r * bytes);
    return rows.data();
  }

  // For the tile kernels.
  const std::byte* Groups(const TileInfo& tile) {
    hw::AlignedBuffer<std::byte>& groups = forms_[static_cast<size_t>(tile.packing)];
    if (groups.size()) return groups.data();
    const size_t n_groups = CeilDiv(x_.rows, tile.cols);
    groups.Reserve(hw::CheckedMul(n_groups, tile.group_bytes, "packed activations"));
    hw::ParallelFor(threads_, n_groups, [&](size_t g, size_t) {
      if (tile.packing == Packing::kFloat)
        return PackGroupFloat(x_, n_groups, g, reinterpret_cast<float*>(groups.data()));
      if (tile.packing == Packing::kInt16) return PackGroupInt16(x_, n_groups, g, groups.data());
      const size_t begin = g * tile.cols;
      PackGroupInt8(tile, x_.Rows(begin, std::min(tile.cols, x_.rows - begin)),
                    groups.data() + g * tile.group_bytes);
    });
    return groups.data();
  }

 private:
  hw::MatrixView<const float> x_;
  hw::Threads threads_;
  std::array<hw::AlignedBuffer<std::byte>, 4> forms_;
};

PartPlan PlanStream(const LinearPart& part, PackedActivations& activations, hw::Threads threads) {
  PartPlan plan;
  plan.part = &part;
  plan.int8 = UsesInt8(part);
  plan.packed = plan.int8 ? activations.Rows() : nullptr;
  const size_t min_rows = CeilDiv(kMinStreamBytes, std::max<size_t>(1, part.w->row_bytes()));
  const size_t rows = std::max(min_rows, CeilDiv(part.w->rows, 8 * std::max<size_t>(1, threads.count)));
  plan.rows_per_task = CeilDiv(rows, kInterleavedRows) * kInterleavedRows;
  plan.n_tasks = CeilDiv(part.w->rows, plan.rows_per_task);
  return plan;
}

// `target_rows` is how many weight rows a task should have to give every thread enough tasks.
PartPlan PlanTiles(const LinearPart& part, const TileInfo& tile, PackedActivations& activations,
                   size_t target_rows) {
  static const size_t l2_bytes = hw::ProbeCpu().l2_bytes;
  PartPlan plan;
  plan.part = &part;
  plan.int8 = UsesInt8(part);
  plan.tile = tile;
  plan.packed = activations.Groups(plan.tile);
  const size_t most = std::clamp<size_t>(l2_bytes / 2 / plan.tile.panel_bytes, 1, kMaxTaskPanels);
  const size_t panels = std::clamp<size_t>(target_rows / plan.tile.panel_rows, 1, most);
  plan.rows_per_task = panels * plan.tile.panel_rows;
  plan.scratch_bytes = panels * plan.tile.panel_bytes;
  plan.n_tasks = CeilDiv(part.w->rows, plan.rows_per_task);
  return plan;
}

void RunTask(const PartPlan& plan, size_t index, hw::MatrixView<const float> x, size_t first_row,
             std::byte* scratch) {
  const LinearPart& part = *plan.part;
  const size_t begin = index * plan.rows_per_task;
  const ProductTask task{.w = part.w,
                         .row_begin = begin,
                         .row_end = std::min(part.w->rows, begin + plan.rows_per_task),
                         .packed = plan.packed,
                         .x = x,
                         .y = part.y.Rows(first_row, x.rows),
                         .bias = part.options.bias,
                         .accumulate = part.options.accumulate,
                         .scratch = scratch};
  if (plan.tile.panel_rows == 0)
    plan.int8 ? DotRowsInt8(task) : DotRowsFloat(task);
  else if (plan.tile.packing == Packing::kInt16)
    TileRowsInt16(task);
  else
    plan.int8 ? TileRowsInt8(plan.tile, task) : TileRowsFloat(task);
}

// All parts for the rows of x, which go to rows first_row .. of every y.
void RunPass(std::span<const LinearPart> parts, hw::MatrixView<const float> x, size_t first_row,
             hw::Threads threads) {
  PackedActivations activations(x, threads);
  std::vector<PartPlan> plans;
  plans.reserve(parts.size());
  size_t n_tasks = 0, scratch_bytes = 0, all_rows = 0;
  for (const LinearPart& part : parts) all_rows += part.w->rows;
  const size_t target_rows = all_rows / (kTasksPerThread * std::max<size_t>(1, threads.count));
  for (const LinearPart& part : parts) {
    const TileInfo tile = TileOf(part);
    plans.push_back(x.rows <= MaxDotRows(part.w->format, tile.packing)
                        ? PlanStream(part, activations, threads)
                        : PlanTiles(part, tile, activations, target_rows));
    n_tasks += plans.back().n_tasks;
    scratch_bytes = std::max(scratch_bytes, plans.back().scratch_bytes);
  }
  scratch_bytes = CeilDiv(scratch_bytes, 64) * 64;
  hw::AlignedBuffer<std::byte> scratch(scratch_bytes * std::max<size_t>(1, threads.count));
  hw::ParallelForRuns(threads, n_tasks, [&](size_t task, size_t thread) {
    size_t p = 0;
    while (task >= plans[p].n_tasks) task -= plans[p++].n_tasks;
    RunTask(plans[p], task, x, first_row, scratch.data() + thread * scratch_bytes);
  });
}

}  // namespace

void LinearGroup(std::span<const LinearPart> parts, hw::MatrixView<const float> x, hw::Threads threads) {
  for ([[maybe_unused]] const LinearPart& part : parts)
    assert(x.rows == part.y.rows && x.cols == part.w->cols && part.y.cols == part.w->rows);
  if (x.rows == 0 || parts.empty()) return;
  const size_t n_passes = CeilDiv(x.rows, kMaxPackedRows);
  const size_t pass_rows = CeilDiv(CeilDiv(x.rows, n_passes), kGroupMultiple) * kGroupMultiple;
  for (size_t begin = 0; begin < x.rows; begin += pass_rows)
    RunPass(parts, x.Rows(begin, std::min(pass_rows, x.rows - begin)), begin, threads);
}

void Linear(const Weight& w, hw::MatrixView<const float> x, hw::MatrixView<float> y,
            const LinearOptions& options, hw::Threads threads) {
  const LinearPart part{&w, y, options};
  LinearGroup({&part, 1}, x, threads);
}

}  // namespace qwen3vl
