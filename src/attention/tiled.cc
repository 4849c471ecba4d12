// SPDX-License-Identifier: Apache-2.0
// Cuts a problem into tasks: q tiles of the heads of a group, and, when those are too few for the threads,
// parts of the kv rows, whose results are merged.
#include "attention/tiled.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <string>

#include "attention/fault.h"
#include "attention/row_codec.h"
#include "hw/checked.h"

namespace qwen3vl::attention {
namespace {

constexpr size_t kMaxScratchBytes = 1 << 20;  // of a thread, for head_dim up to 128; in proportion above
constexpr size_t kMinSplitRows = 128;         // kv rows that a task of its own is worth
constexpr size_t kMaxSplitQRows = 64;         // more q rows than this make enough work unsplit
constexpr size_t kMinQRows = 48;  // q rows below which packing a tile costs too much to cut further

constexpr size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

// How a problem is cut.
struct Cut {
  bool int16 = false;      // see UsesInt16
  size_t tile = 0;         // kv rows per step
  size_t tokens = 1;       // q rows of one head per task
  size_t heads = 1;        // heads of one group per task
  size_t q_tiles = 1;      // per head
  size_t head_chunks = 1;  // per group
  size_t splits = 1;       // of the kv rows
  size_t split_rows = 0;   // kv rows per split, a multiple of KvUnit
  size_t columns = 0;      // batch * n_kv_heads * head_chunks: tasks that share no kv head's q tile
  bool operator==(const Cut&) const = default;
  size_t rows() const { return tokens * heads; }
  size_t tasks() const { return columns * q_tiles * splits; }
};

// Whole register blocks where there is a choice: fewer tokens may fill blocks of kRowBlock rows better.
size_t TokensFor(size_t q_rows, size_t heads, size_t q_len) {
  size_t tokens = std::max<size_t>(1, q_rows / heads);
  if (tokens >= q_len) return std::max<size_t>(1, q_len);
  for (size_t fewer = tokens; fewer > 0 && 4 * fewer >= 3 * tokens; --fewer)
    if (fewer * heads % kRowBlock == 0) return fewer;
  return tokens;
}

void FitScratch(size_t head_dim, Cut& cut, size_t q_len) {
  const size_t limit = kMaxScratchBytes * std::max<size_t>(1, DivideUp(head_dim, 128));
  const auto too_much = [&] { return ScratchOf(cut.rows(), cut.tile, head_dim).bytes > limit; };
  while (too_much() && cut.rows() > kMinQRows) {
    if (cut.tokens > 1)
      cut.tokens = TokensFor(cut.rows() / 2, cut.heads, q_len);
    else
      cut.heads = DivideUp(cut.heads, 2);
  }
  while (too_much() && cut.tile > kPanelRows) cut.tile = DivideUp(cut.tile / 2, kPanelRows) * kPanelRows;
}

// Splits the kv rows at multiples of `unit`: the fewest splits that keep `threads` threads evenly busy.
void Split(size_t kv_len, size_t unit, size_t threads, Cut& cut) {
  cut.splits = 1;
  cut.split_rows = DivideUp(kv_len, unit) * unit;
  const size_t tasks = cut.tasks();
  if (threads <= 1 || tasks >= 4 * threads || cut.rows() > kMaxSplitQRows) return;
  const size_t most = std::min(threads, kv_len / std::max(kMinSplitRows, kPanelRows));
  // Time in kv rows; a further split must gain 5 %.
  size_t best_time = DivideUp(tasks, threads) * kv_len;
  for (size_t wanted = 2; wanted <= most; ++wanted) {
    const size_t rows = DivideUp(DivideUp(kv_len, wanted), unit) * unit;
    const size_t splits = DivideUp(kv_len, rows);
    const size_t time = DivideUp(tasks * splits, threads) * rows;
    if (100 * time < 95 * best_time) {
      cut.splits = splits;
      cut.split_rows = rows;
      best_time = time;
    }
  }
}

Cut MakeCut(const Inputs& in, const Options& options) {
  const hw::TilePlan& plan = options.plan;
  const Shape& shape = in.shape;
  const size_t group = shape.n_heads / shape.n_kv_heads;
  const size_t threads = std::max<size_t>(1, plan.threads);
  // A tile longer than the keys would only take memory.
  const size_t wanted = std::clamp<size_t>(plan.tile, 1, std::max<size_t>(1, shape.kv_len));
  Cut cut;
  cut.int16 = UsesInt16(in, options);
  cut.tile = DivideUp(wanted, kPanelRows) * kPanelRows;
  const size_t q_rows = std::max<size_t>(1, plan.q_rows);
  cut.heads = std::min(group, std::max(q_rows, kRowBlock));
  cut.tokens = TokensFor(q_rows, cut.heads, shape.q_len);
  FitScratch(shape.head_dim, cut, shape.q_len);
  cut.head_chunks = DivideUp(group, cut.heads);
  cut.columns = shape.batch * shape.n_kv_heads * cut.head_chunks;
  while (cut.columns * DivideUp(shape.q_len, cut.tokens) < 2 * threads && cut.rows() >= 2 * kMinQRows)
    cut.tokens = TokensFor(cut.rows() / 2, cut.heads, shape.q_len);
  cut.q_tiles = DivideUp(shape.q_len, cut.tokens);
  // Weights become codes by the running maximum, which a split would begin anew, and a weight halfway between
  // two codes either of them: unsplit, thread counts leave no trace.
  Split(shape.kv_len, KvUnit(in, cut.int16, cut.tile), cut.int16 ? 1 : threads, cut);
  return cut;
}

KvHead CacheHead(const KvCacheLayer& cache, size_t head) {
  KvHead kv;
  kv.is_cache = true;
  kv.k_format = kv.v_format = cache.format;
  kv.k = cache.k_panels(head);
  kv.v = cache.v_strips(head);
  kv.k_scales = cache.k_scales(head);
  kv.v_scales = cache.v_scales(head);
  kv.padded_length = cache.padded_length;
  return kv;
}

KvHead PlainHead(const Inputs& in, size_t batch, size_t head) {
  KvHead kv;
  kv.k_format = in.k.format;
  kv.v_format = in.v.format;
  kv.k = RowAddress(in.k, batch, 0, head);
  kv.v = RowAddress(in.v, batch, 0, head);
  kv.k_row_bytes = hw::RowBytes(in.k.format, in.k.row_stride);
  kv.v_row_bytes = hw::RowBytes(in.v.format, in.v.row_stride);
  return kv;
}

// Task `index` of a cut. With a causal rule late q tiles are the heavy ones and come first, all heads of
// them; otherwise the tasks of one head follow each other and find its keys in a shared cache.
TiledTask TaskAt(const Inputs& in, const Outputs& out, const Cut& cut, size_t index) {
  const Shape& shape = in.shape;
  const size_t split = index % cut.splits;
  const size_t rest = index / cut.splits;
  const size_t q_tile = in.mask.causal ? cut.q_tiles - 1 - rest / cut.columns : rest % cut.q_tiles;
  const size_t column = in.mask.causal ? rest % cut.columns : rest / cut.q_tiles;
  const size_t group = shape.n_heads / shape.n_kv_heads;
  const size_t chunk = column % cut.head_chunks;
  const size_t kv_head = column / cut.head_chunks % shape.n_kv_heads;
  TiledTask task;
  task.in = &in;
  task.out = &out;
  task.batch = column / cut.head_chunks / shape.n_kv_heads;
  task.kv = in.cache ? CacheHead(*in.cache, kv_head) : PlainHead(in, task.batch, kv_head);
  task.first_head = kv_head * group + chunk * cut.heads;
  task.n_heads = std::min(cut.heads, group - chunk * cut.heads);
  task.first_token = q_tile * cut.tokens;
  task.n_tokens = std::min(cut.tokens, shape.q_len - task.first_token);
  task.kv_rows = {split * cut.split_rows,
                  split + 1 == cut.splits ? shape.kv_len : (split + 1) * cut.split_rows};
  task.tile = cut.tile;
  task.int16 = cut.int16;
  return task;
}

// Merges the partial results of one task's kv splits by their maxima and sums; they lie split_stride floats
// apart.
void MergeAndWrite(const TiledTask& task, float* partial, size_t split_stride, size_t splits) noexcept {
  const size_t head_dim = task.in->shape.head_dim;
  const float factor = ScoreFactor(*task.in);
  for (size_t r = 0; r < task.rows(); ++r) {
    float* first = partial + r * (head_dim + 2);
    float row_max = -std::numeric_limits<float>::infinity();
    for (size_t s = 0; s < splits; ++s) row_max = std::max(row_max, first[s * split_stride + head_dim]);
    float sum = 0;
    for (size_t s = 0; s < splits; ++s) {
      float* part = first + s * split_stride;
      const float weight = part[head_dim + 1] == 0 ? 0.0f : std::exp2((part[head_dim] - row_max) * factor);
      sum += weight * part[head_dim + 1];
      for (size_t d = 0; d < head_dim; ++d) first[d] = (s == 0 ? 0.0f : first[d]) + weight * part[d];
    }
    const float inverse = sum == 0 ? 0.0f : 1.0f / sum;
    for (size_t d = 0; d < head_dim; ++d) first[d] = sum == 0 ? 0.0f : first[d] * inverse;
    const OutputRow row{task.batch, task.first_token + r / task.n_heads, task.first_head + r % task.n_heads};
    EncodeRow(task.out->out_format, first, head_dim, OutputAddress(*task.in, *task.out, row));
    if (task.out->lse) WriteLogSumExp(*task.in, *task.out, row, row_max, sum);
  }
}

}  // namespace

std::byte* OutputAddress(const Inputs& in, const Outputs& out, OutputRow row) {
  const Shape& shape = in.shape;
  const size_t element =
      (row.batch * shape.q_len + row.token) * OutputStride(in, out) + row.head * shape.head_dim;
  return static_cast<std::byte*>(out.out) + hw::RowBytes(out.out_format, element);
}

void WriteLogSumExp(const Inputs& in, const Outputs& out, OutputRow row, float row_max, float sum) noexcept {
  const Shape& shape = in.shape;
  constexpr double kLn2 = 0.69314718055994531;
  const double lse = sum == 0 ? -std::numeric_limits<double>::infinity()
                              : kLn2 * (double{row_max} * ScoreFactor(in) + std::log2(double{sum}));
  out.lse[(row.batch * shape.n_heads + row.head) * shape.q_len + row.token] = static_cast<float>(lse);
}

namespace {

PathOutcome RunCut(const Inputs& in, const Outputs& out, const Cut& cut, const Options& options,
                   Workspace& workspace) {
  const Shape& shape = in.shape;
  const size_t n_tasks = cut.tasks();
  const hw::Threads threads{std::min(std::max<size_t>(1, options.plan.threads), n_tasks), options.cancel};
  const size_t scratch_bytes = ScratchOf(cut.rows(), cut.tile, shape.head_dim).bytes;
  const size_t partial_floats = cut.splits > 1 ? cut.rows() * (shape.head_dim + 2) : 0;
  const size_t scratch_floats = scratch_bytes / sizeof(float);
  const size_t floats = threads.count * scratch_floats + n_tasks * partial_floats;
  float* memory = nullptr;
  try {
    if (FaultAsked(Fault::kAlloc)) throw std::bad_alloc();
    memory = workspace.Reserve(floats);
  } catch (const std::bad_alloc&) {
    return {FallbackCause::kMemory, "tiled: no memory for " + std::to_string(floats * sizeof(float)) +
                                        " bytes of scratch; fewer threads or a smaller --tile need less"};
  }
  float* partials = memory + threads.count * scratch_floats;
  hw::ParallelFor(threads, n_tasks, [&](size_t index, size_t thread) noexcept {
    TiledTask task = TaskAt(in, out, cut, index);
    task.scratch = reinterpret_cast<std::byte*>(memory + thread * scratch_floats);
    if (cut.splits > 1) task.partial = partials + index * partial_floats;
    RunTiledTask(task);
  });
  if (cut.splits > 1)
    hw::ParallelFor(threads, n_tasks / cut.splits, [&](size_t index, size_t) noexcept {
      MergeAndWrite(TaskAt(in, out, cut, index * cut.splits), partials + index * cut.splits * partial_floats,
                    partial_floats, cut.splits);
    });
  return {};
}

// Tokens `first` to first + n - 1 of a sequence, and the keys up to the last of them.
struct TokenRun {
  Inputs in;
  Outputs out;

  TokenRun(const Inputs& all, const Outputs& all_out, size_t first, size_t n) : in(all), out(all_out) {
    in.shape.q_len = n;
    in.shape.kv_len -= all.shape.q_len - first - n;
    in.q.data = RowAddress(all.q, 0, first, 0);
    out.out = OutputAddress(all, all_out, {0, first, 0});
  }
};

// Tokens that would be cut alike share the readings of their keys and values: a task's rows get the same sums
// in the same order as each alone. Not so whole numbers, whose scales depend on what the rows see together.
PathOutcome RunEachAlone(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace,
                         size_t* tile) {
  const size_t n = in.shape.q_len;
  for (size_t first = 0, end; first < n; first = end) {
    const auto cut_of = [&](size_t token) { return MakeCut(TokenRun(in, out, token, 1).in, options); };
    Cut cut = cut_of(first);
    *tile = std::max(*tile, cut.tile);
    end = first + 1;
    const bool whole_numbers = cut.int16 || in.cache->format == hw::Format::kQ8_0;
    while (end < n && !whole_numbers && (end - first + 1) * cut.heads <= kMaxSplitQRows && cut_of(end) == cut)
      ++end;
    const TokenRun run(in, out, first, end - first);
    cut.tokens = end - first;
    const PathOutcome outcome = RunCut(run.in, run.out, cut, options, workspace);
    if (outcome.cause != FallbackCause::kNone) return outcome;
  }
  return {};
}

}  // namespace

PathOutcome AttendTiled(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace,
                        size_t* tile) {
  if (in.shape.batch == 0 || in.shape.q_len == 0) return {};
  PathOutcome outcome;
  if (options.each_alone) {
    outcome = RunEachAlone(in, out, options, workspace, tile);
  } else {
    const Cut cut = MakeCut(in, options);
    *tile = cut.tile;
    outcome = RunCut(in, out, cut, options, workspace);
  }
  if (outcome.cause == FallbackCause::kNone && FaultAsked(Fault::kNan)) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EncodeRow(out.out_format, &nan, 1, out.out);
  }
  return outcome;
}

}  // namespace qwen3vl::attention
