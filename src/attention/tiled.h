// SPDX-License-Identifier: Apache-2.0
// The tiled path: AttendTiled cuts a problem into tasks for threads (tiled.cc), RunTiledTask does one of them
// on vectors (tiled_simd.cc).
#pragma once

#include <cmath>
#include <cstddef>

#include "attention/attention.h"
#include "attention/cuda/attention_cuda.h"
#include "attention/mask.h"

namespace qwen3vl::attention {

inline constexpr size_t kMaxTiledHeadDim = 256;
// Rows of a block where there are many.
inline constexpr size_t kRowBlock = 12;
// q rows whose scores against one tile are computed, turned into weights and used while they are in the first
// cache.
inline constexpr size_t kRowGroup = 24;
inline constexpr size_t kMaxCodedRows = 6;  // of one kv head, see IsCoded
// Of one kv head, see UsesInt16: two blocks of many rows, and as few as gain by it (behind 4096 keys 24 rows
// took 0.96 to 1.10 of the time in floats, 48 0.93 to 0.96, 96 0.81 to 0.87).
inline constexpr size_t kMinInt16Rows = 24, kMinAutoInt16Rows = 48;
inline constexpr size_t kMaxLanes = 16;  // floats in the widest vector

// Where one key/value head of one sequence lies: rows of a plain tensor, or panels and strips of a cache.
struct KvHead {
  hw::Format k_format = hw::Format::kF32;
  hw::Format v_format = hw::Format::kF32;
  const std::byte* k = nullptr;  // row 0, or the panels
  const std::byte* v = nullptr;  // row 0, or the strips
  size_t k_row_bytes = 0;        // plain: from row to row
  size_t v_row_bytes = 0;
  bool is_cache = false;
  size_t padded_length = 0;  // cache: rows in a strip
  const uint16_t* k_scales = nullptr;
  const uint16_t* v_scales = nullptr;
};

// A score as the tiled path keeps it, times this, is an exponent of 2. Plain products keep their size until
// the maximum is subtracted; where a softcap or a bias comes in between, scores are brought to base 2 before.
inline float ScoreFactor(const Inputs& in) {
  constexpr float kLog2E = 1.44269504f;
  if (in.softcap > 0 || in.mask.bias) return 1.0f;
  const float scale =
      in.scale != 0 ? std::abs(in.scale) : 1.0f / std::sqrt(static_cast<float>(in.shape.head_dim));
  return scale * kLog2E;
}

// Whether q and weights become whole numbers: few rows on a q8_0 cache. Asked of the problem, not of a task,
// so that no other way to cut it changes how a row is rounded.
inline bool IsCoded(const Inputs& in) {
  const Shape& shape = in.shape;
  return in.cache && in.cache->format == hw::Format::kQ8_0 &&
         shape.q_len * (shape.n_heads / shape.n_kv_heads) <= kMaxCodedRows;
}

// Whether many rows are multiplied in whole numbers of 16 bits; asked of the problem for the same reason.
inline bool UsesInt16(const Inputs& in, const Options& options) {
  const Shape& shape = in.shape;
  const size_t rows = shape.q_len * (shape.n_heads / shape.n_kv_heads);
  if (options.cpu_products == CpuProducts::kF32 || shape.head_dim % 2 != 0) return false;
  if (options.cpu_products == CpuProducts::kInt16) return rows >= kMinInt16Rows;
  return rows >= kMinAutoInt16Rows && (in.cache ? in.cache->format : in.k.format) != hw::Format::kF32;
}

// Tiles and splits begin at multiples of this many kv rows. Coded weights or values of a tile share a scale,
// so there the tiles are the same however the kv rows are split.
inline size_t KvUnit(const Inputs& in, bool int16, size_t tile) {
  return int16 || IsCoded(in) ? tile : kPanelRows;
}

// Some tokens of some query heads that read one key/value head, against a range of kv rows.
// Row r of the task is token first_token + r / n_heads of head first_head + r % n_heads.
struct TiledTask {
  const Inputs* in = nullptr;
  const Outputs* out = nullptr;
  KvHead kv;
  size_t batch = 0;
  size_t first_head = 0;
  size_t n_heads = 1;
  size_t first_token = 0;
  size_t n_tokens = 1;
  KvRange kv_rows;     // begins at a multiple of KvUnit
  size_t tile = 16;    // kv rows per step, a multiple of kPanelRows
  bool int16 = false;  // q, keys, weights and values become whole numbers of 16 bits, see CpuProducts
  // Null: results are final and go to `out`. Else the partial result of these kv rows goes here, [rows,
  // head_dim + 2]: the weighted sum, the maximum of the scores and the sum of 2^((score - maximum) * factor).
  float* partial = nullptr;
  std::byte* scratch = nullptr;  // TaskScratch(...).bytes, aligned to a cache line

  size_t rows() const { return n_tokens * n_heads; }
};

// How a task divides its scratch; offsets in bytes, all multiples of a cache line. dim is head_dim rounded up
// to kStripCols. q rows are cut into blocks as high as the register blocks that compute them, and everything
// a block owns lies in pieces of 16 values, [piece][row of the block][16], as the products read and write it.
struct TaskScratch {
  size_t q = 0;        // [blocks][dim / 16][block rows][16] q, scaled
  size_t acc = 0;      // [blocks][dim / 16][block rows][16] weighted sums so far
  size_t row_max = 0;  // [rows]
  size_t row_sum = 0;  // [rows, kMaxLanes] one partial sum per vector lane
  size_t seen = 0;     // [rows] KvRange
  size_t blocks = 0;   // [blocks] BlockRanges
  size_t scores = 0;   // [blocks of kRowGroup rows][tile / 16][block rows][16]
  size_t k = 0;        // [tile / 16, head_dim, 16] the tile's keys as f32 panels
  size_t v = 0;        // [dim / 16, tile, 16] the tile's values as f32 strips
  size_t staging = 0;  // [16, dim] rows between formats
  size_t bytes = 0;
};

// kv rows that any row of a block sees, and those that every row sees.
struct BlockRanges {
  KvRange any, every;
};

constexpr TaskScratch ScratchOf(size_t rows, size_t tile, size_t head_dim) {
  const size_t dim = (head_dim + kStripCols - 1) / kStripCols * kStripCols;
  const size_t padded_rows = (rows + kRowBlock - 1) / kRowBlock * kRowBlock;  // in whole blocks of any height
  TaskScratch s;
  const auto place = [&s](size_t bytes) {
    const size_t at = s.bytes;
    s.bytes += (bytes + 63) / 64 * 64;
    return at;
  };
  s.q = place(padded_rows * dim * sizeof(float));
  s.acc = place(padded_rows * dim * sizeof(float));
  s.row_max = place(padded_rows * sizeof(float));
  s.row_sum = place(padded_rows * kMaxLanes * sizeof(float));
  s.seen = place(rows * sizeof(KvRange));
  s.blocks = place(rows * sizeof(BlockRanges));
  s.scores = place((padded_rows < kRowGroup ? padded_rows : kRowGroup) * tile * sizeof(float));
  s.k = place(tile * head_dim * sizeof(float));
  s.v = place(tile * dim * sizeof(float));
  s.staging = place(kPanelRows * dim * sizeof(float));
  return s;
}

struct OutputRow {
  size_t batch, token, head;
};

// Elements from token to token of the output.
inline size_t OutputStride(const Inputs& in, const Outputs& out) {
  return out.out_row_stride ? out.out_row_stride : in.shape.n_heads * in.shape.head_dim;
}

// Where that row goes.
std::byte* OutputAddress(const Inputs& in, const Outputs& out, OutputRow row);

// Writes the log-sum-exp of a row; row_max and sum as in a partial result, sum 0 for a row that saw nothing.
void WriteLogSumExp(const Inputs& in, const Outputs& out, OutputRow row, float row_max, float sum) noexcept;

// Runs one task on the best instruction set this process may use. No threads, no allocation.
void RunTiledTask(const TiledTask& task) noexcept;

// Runs a checked problem. `*tile` becomes the kv rows per step. Falls back (cause kMemory) only when the
// scratch cannot be had. Precondition: head_dim <= kMaxTiledHeadDim and no weights asked for.
PathOutcome AttendTiled(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace,
                        size_t* tile);

}  // namespace qwen3vl::attention
