// SPDX-License-Identifier: Apache-2.0
// The tile of the online softmax and everything else that attention adapts to the machine, as one pure
// function.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "hw/cpu_info.h"
#include "hw/gpu_info.h"

namespace qwen3vl::hw {

// What the plan is made for. Lengths are upper bounds.
struct AttentionProblem {
  size_t q_len = 1;
  size_t kv_len = 1;
  size_t n_heads = 32;
  size_t n_kv_heads = 8;
  size_t head_dim = 128;
};

// The machine as the plan sees it. Recorded machines (tests/support/machines.h) are its test data.
struct Machine {
  CpuInfo cpu;
  const GpuInfo* gpu = nullptr;  // the device attention would run on, or null: CPU
  size_t free_memory_bytes = 0;  // 0: unknown
};

struct TilePlan {
  size_t tile = 256;   // key/value rows per step of the online softmax
  size_t q_rows = 64;  // q rows (tokens x heads of a group) per task; on a GPU per block
  size_t threads = 1;
  size_t scratch_bytes_per_thread = 0;
  size_t standard_below = 0;  // where attention may choose: standard for fewer keys than this
  bool forced = false;        // the tile is what was asked for
  std::string reason;         // "i5-10210U: prescribed 64"
};

struct TileRequest {
  size_t tile = 0;     // 0: automatic
  size_t threads = 0;  // 0: what is fastest on this machine
};

// What was measured to be fastest on this machine, with the threads and the instruction set in use, for heads
// of one shape.
struct TunedPlan {
  size_t head_dim = 0;
  size_t group = 1;  // query heads that share a key/value head
  size_t tile = 0;
  size_t q_rows = 0;  // 0: by the rule of ChooseTilePlan, at every length
  size_t standard_below = 0;
};

// float32 scratch of one task, with dim = head_dim rounded up to 16:
//   4 * (2 * tile * dim      the packed K and V tile
//        + 2 * q_rows * dim  the q block and its accumulator
//        + 32 * q_rows       running maxima and sums, and the range each row sees
//        + 24 * tile         scores of the q rows at work
//        + 16 * dim)         rows between formats
size_t TileScratchBytes(size_t tile, size_t q_rows, size_t head_dim);

// Prescribed: compute capability 6.1 -> 128; Intel i5-10210U -> 64; everything else -> 256. A forced tile
// (callers check 1 .. 65536) is rounded up to 16. On a CPU, q_rows is the most, up to 1056, with which
// TileScratchBytes(...) <= min(L2, 1 MiB) and every thread has two tasks; 48 where none is. Unless a tile is
// forced, an entry of `tuned` for heads of the problem's shape replaces the tile, and q_rows where it has
// some, on a CPU. Shrinks tile and q_rows (never below 16 and 1) until the scratch of all threads fits the
// free memory; never fails.
TilePlan ChooseTilePlan(const Machine& machine, const AttentionProblem& problem,
                        const TileRequest& request = {}, std::span<const TunedPlan> tuned = {});

}  // namespace qwen3vl::hw
