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
  explicit PackedActivations(hw::MatrixView<const float> x) : x_(x) {}

  bool Is(hw::MatrixView<const float> x) const {
    return x.data == x_.data && x.rows == x_.rows && x.cols == x_.cols;
  }

  // For DotRowsInt8.
  const std::byte* Rows() {
    if (rows_.size()) return rows_.data();
    const size_t bytes = QuantizedRow::Bytes(x_.cols);
    rows_.Reserve(hw::CheckedMul(x_.rows, bytes, "activations in 8 bits"));
    for (size_t r = 0; r < x_.rows; ++r) QuantizeActivationRow(x_.row(r), x_.cols, rows_.data() + r * bytes);
    return rows_.data();
  }

  // For the tile kernels, once all groups have been packed.
  const std::byte* Groups(const TileInfo& tile) {
    Form& form = forms_[static_cast<size_t>(tile.packing)];
    if (form.n_groups == 0) {
      form.tile = tile;
      form.n_groups = CeilDiv(x_.rows, tile.cols);
      form.bytes.Reserve(hw::CheckedMul(form.n_groups, tile.group_bytes, "packed activations"));
    }
    return form.bytes.data();
  }

  size_t n_groups() const {
    size_t n = 0;
    for (const Form& form : forms_) n += form.n_groups;
    return n;
  }

  // Group `g` of all forms.
  void PackGroup(size_t g) {
    Form* form = forms_.data();
    while (g >= form->n_groups) g -= form++->n_groups;
    const TileInfo& tile = form->tile;
    if (tile.packing == Packing::kFloat)
      return PackGroupFloat(x_, form->n_groups, g, reinterpret_cast<float*>(form->bytes.data()));
    if (tile.packing == Packing::kInt16) return PackGroupInt16(x_, form->n_groups, g, form->bytes.data());
    const size_t begin = g * tile.cols;
    PackGroupInt8(tile, x_.Rows(begin, std::min(tile.cols, x_.rows - begin)),
                  form->bytes.data() + g * tile.group_bytes);
  }

 private:
  struct Form {
    TileInfo tile{};
    size_t n_groups = 0;
    hw::AlignedBuffer<std::byte> bytes;
  };

  hw::MatrixView<const float> x_;
  hw::AlignedBuffer<std::byte> rows_;
  std::array<Form, 3> forms_;  // by value of Packing
};

void PackAll(std::vector<PackedActivations>& all, hw::Threads threads) {
  size_t n_groups = 0;
  for (const PackedActivations& one : all) n_groups += one.n_groups();
  if (n_groups == 0) return;
  hw::ParallelFor(threads, n_groups, [&](size_t g, size_t) {
    PackedActivations* one = all.data();
    while (g >= one->n_groups()) g -= one++->n_groups();
    one->PackGroup(g);
  });
}

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

void RunTask(const PartPlan& plan, size_t index, std::byte* scratch) {
  const LinearPart& part = *plan.part;
  const size_t begin = index * plan.rows_per_task;
  const ProductTask task{.w = part.w,
                         .row_begin = begin,
                         .row_end = std::min(part.w->rows, begin + plan.rows_per_task),
                         .packed = plan.packed,
                         .x = part.x,
                         .y = part.y,
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

void RunPass(std::span<const LinearPart> parts, hw::Threads threads) {
  std::vector<PackedActivations> activations;
  std::vector<PartPlan> plans;
  activations.reserve(parts.size());
  plans.reserve(parts.size());
  size_t n_tasks = 0, scratch_bytes = 0, all_rows = 0;
  for (const LinearPart& part : parts) all_rows += part.w->rows;
  const size_t target_rows = all_rows / (kTasksPerThread * std::max<size_t>(1, threads.count));
  for (const LinearPart& part : parts) {
    if (activations.empty() || !activations.back().Is(part.x)) activations.emplace_back(part.x);
    const TileInfo tile = TileOf(part);
    plans.push_back(part.x.rows <= MaxDotRows(part.w->format, tile.packing)
                        ? PlanStream(part, activations.back(), threads)
                        : PlanTiles(part, tile, activations.back(), target_rows));
    n_tasks += plans.back().n_tasks;
    scratch_bytes = std::max(scratch_bytes, plans.back().scratch_bytes);
  }
  PackAll(activations, threads);
  scratch_bytes = CeilDiv(scratch_bytes, 64) * 64;
  hw::AlignedBuffer<std::byte> scratch(scratch_bytes * std::max<size_t>(1, threads.count));
  hw::ParallelForRuns(threads, n_tasks, [&](size_t task, size_t thread) {
    size_t p = 0;
    while (task >= plans[p].n_tasks) task -= plans[p++].n_tasks;
    RunTask(plans[p], task, scratch.data() + thread * scratch_bytes);
  });
}

}  // namespace

void LinearGroup(std::span<const LinearPart> parts, hw::Threads threads) {
  size_t most = 0;
  for (const LinearPart& part : parts) {
    assert(part.x.rows == part.y.rows && part.x.cols == part.w->cols && part.y.cols == part.w->rows);
    most = std::max(most, part.x.rows);
  }
  if (most == 0) return;
  const size_t n_passes = CeilDiv(most, kMaxPackedRows);
  const size_t pass_rows = CeilDiv(CeilDiv(most, n_passes), kGroupMultiple) * kGroupMultiple;
  std::vector<LinearPart> pass;
  for (size_t begin = 0; begin < most; begin += pass_rows) {
    pass.clear();
    for (const LinearPart& part : parts) {
      if (begin >= part.x.rows) continue;
      const size_t n = std::min(pass_rows, part.x.rows - begin);
      pass.push_back({part.w, part.x.Rows(begin, n), part.y.Rows(begin, n), part.options});
    }
    RunPass(pass, threads);
  }
}

void Linear(const Weight& w, hw::MatrixView<const float> x, hw::MatrixView<float> y,
            const LinearOptions& options, hw::Threads threads) {
  const LinearPart part{&w, x, y, options};
  LinearGroup({&part, 1}, threads);
}

}  // namespace qwen3vl
