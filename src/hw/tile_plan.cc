// SPDX-License-Identifier: Apache-2.0
#include "hw/tile_plan.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace qwen3vl::hw {
namespace {

constexpr size_t kMinTile = 16;
constexpr size_t kMaxScratchBytes = 1 << 20;
// Steps of q rows: whole register blocks of 12 rows. Every task packs each K/V tile once more, so more rows
// are better as long as they stay in L2: a picture of 1024 patches is packed once for each head.
constexpr size_t kRowStep = 48;
constexpr size_t kMaxRows = 1056;
constexpr size_t kRowsAtWork = 24;  // whose scores exist at a time
constexpr size_t kGpuRows = 64;

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }
size_t RoundUp(size_t a, size_t step) { return CeilDiv(a, step) * step; }

std::string Mebibytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

struct Tile {
  size_t rows;
  std::string reason;
};

Tile PrescribedTile(const Machine& machine) {
  if (const GpuInfo* gpu = machine.gpu) {
    const std::string capability =
        std::to_string(gpu->compute_major) + "." + std::to_string(gpu->compute_minor);
    if (gpu->compute_major == 6 && gpu->compute_minor == 1)
      return {128, gpu->name + ": prescribed 128 for compute capability 6.1"};
    return {256, gpu->name + ": prescribed 256 (compute capability " + capability + ")"};
  }
  if (machine.cpu.model_name.find("i5-10210U") != std::string::npos) return {64, "i5-10210U: prescribed 64"};
  return {256, machine.cpu.model_name + ": prescribed 256"};
}

Tile AskedTile(size_t asked) {
  const size_t rows = RoundUp(asked, kMinTile);
  const std::string reason = "tile " + std::to_string(asked) + " as asked";
  return {rows, rows == asked ? reason : reason + ", rounded up to " + std::to_string(rows)};
}

// The most q rows of which the scratch stays in L2 and that still give every thread two tasks; evened out so
// that the last task is not much smaller than the others.
size_t ChooseRows(const AttentionProblem& problem, const TilePlan& plan, size_t l2_bytes) {
  const size_t kv_heads = std::max<size_t>(1, problem.n_kv_heads);
  const size_t rows_per_head = std::max<size_t>(1, problem.q_len * problem.n_heads / kv_heads);
  const size_t budget = std::min(l2_bytes, kMaxScratchBytes);
  size_t rows = kMaxRows;
  while (rows > kRowStep && (TileScratchBytes(plan.tile, rows, problem.head_dim) > budget ||
                             CeilDiv(rows_per_head, rows) * kv_heads < 2 * plan.threads))
    rows -= kRowStep;
  const size_t even = RoundUp(CeilDiv(rows_per_head, CeilDiv(rows_per_head, rows)), kRowStep / 2);
  return std::min({rows, even, rows_per_head});
}

// The entry for heads of the problem's shape, or null.
const TunedPlan* FindTuned(const AttentionProblem& problem, std::span<const TunedPlan> tuned) {
  const size_t group = problem.n_heads / std::max<size_t>(1, problem.n_kv_heads);
  const auto found = std::ranges::find_if(tuned, [&](const TunedPlan& t) {
    return t.head_dim == problem.head_dim && t.group == group && t.tile > 0;
  });
  return found == tuned.end() ? nullptr : &*found;
}

void Apply(const TunedPlan& tuned, TilePlan& plan) {
  plan.reason = "measured on this machine: " + std::to_string(tuned.tile) + " (" + plan.reason + ")";
  plan.tile = tuned.tile;
  plan.standard_below = tuned.standard_below;
}

// Lowers q rows, then the tile unless it is forced, then q rows again, until all scratch fits `free_bytes`.
void ShrinkToFit(size_t free_bytes, bool forced, size_t head_dim, TilePlan& plan) {
  const TilePlan wanted = plan;
  const auto total = [&](const TilePlan& p) {
    return p.threads * TileScratchBytes(p.tile, p.q_rows, head_dim);
  };
  while (total(plan) > free_bytes) {
    if (plan.q_rows > kRowStep)
      plan.q_rows = std::max(kRowStep, plan.q_rows / 2);
    else if (!forced && plan.tile > kMinTile)
      plan.tile = std::max(kMinTile, plan.tile / 2);
    else if (plan.q_rows > 1)
      plan.q_rows /= 2;
    else
      break;
  }
  if (total(plan) == total(wanted)) return;
  plan.reason += "; shrunk to tile " + std::to_string(plan.tile) + ", q rows " + std::to_string(plan.q_rows) +
                 ": scratch of " + Mebibytes(total(wanted)) + " does not fit " + Mebibytes(free_bytes) +
                 " of free memory";
}

}  // namespace

size_t TileScratchBytes(size_t tile, size_t q_rows, size_t head_dim) {
  const size_t dim = RoundUp(head_dim, 16);
  return sizeof(float) * (2 * tile * dim + 2 * q_rows * dim + 32 * q_rows + kRowsAtWork * tile + 16 * dim);
}

TilePlan ChooseTilePlan(const Machine& machine, const AttentionProblem& problem, const TileRequest& request,
                        std::span<const TunedPlan> tuned) {
  const bool forced = request.tile != 0;
  const Tile tile = forced ? AskedTile(request.tile) : PrescribedTile(machine);
  TilePlan plan;
  plan.tile = tile.rows;
  plan.forced = forced;
  plan.reason = tile.reason;
  plan.threads = std::max<size_t>(1, request.threads ? request.threads : machine.cpu.default_threads);
  if (machine.gpu) {
    plan.q_rows = kGpuRows;
    return plan;
  }
  const TunedPlan* found = forced ? nullptr : FindTuned(problem, tuned);
  if (found) Apply(*found, plan);
  plan.q_rows = found && found->q_rows
                    ? std::min(found->q_rows, std::max<size_t>(1, problem.q_len * found->group))
                    : ChooseRows(problem, plan, machine.cpu.l2_bytes);
  if (machine.free_memory_bytes != 0) ShrinkToFit(machine.free_memory_bytes, forced, problem.head_dim, plan);
  plan.scratch_bytes_per_thread = TileScratchBytes(plan.tile, plan.q_rows, problem.head_dim);
  return plan;
}

}  // namespace qwen3vl::hw
