// SPDX-License-Identifier: Apache-2.0
// An attention problem as the kernels take it: which kernel, which grid, where everything lies in device
// memory. Pure functions of the problem and the device's size.
#pragma once

#include <cstddef>
#include <string>

#include "attention/attention.h"
#include "attention/cuda/attention_params.h"

namespace qwen3vl::attention {

// Rows of a kv head up to which keys are split: there the reading of K and V takes longer than the
// arithmetic, and a block of 64 rows would be empty.
inline constexpr size_t kMaxDecodeRows = 8;

// Of one value of a stored row, but for the scales of q8_0.
size_t ElementBytes(gpu::KvFormat format);

// Offsets in bytes into one block of device memory, multiples of 256. Host memory holds copies of the first
// part (what goes up) and of the second (what comes back).
struct CudaLayout {
  size_t q = 0, k = 0, v = 0, k_scales = 0, v_scales = 0, seen = 0;
  size_t upload_bytes = 0;
  size_t out = 0, stats = 0;
  size_t out_bytes = 0, stats_bytes = 0;
  size_t download_bytes = 0;  // from `out` to the end of `stats`
  size_t partial = 0, partial_stats = 0;
  size_t bytes = 0;
};

struct CudaProblem {
  unsigned head_dim = 0;  // the kernel's: the problem's, rounded up to the next there is
  gpu::KvFormat format = gpu::KvFormat::kF32;
  bool decode = false;      // few rows: split the keys, then merge
  unsigned row_blocks = 1;  // blocks of rows for each kv head
  unsigned splits = 1, split_rows = 0;
  CudaLayout layout;
};

// Why the kernels cannot do this, or an empty text: "cuda: head_dim 200 is over 128".
std::string WhyNotOnCuda(const Inputs& in, const Outputs& out);

// Precondition: WhyNotOnCuda has nothing to say. Throws Error(kInvalidArgument) when sizes overflow.
CudaProblem MakeCudaProblem(const Inputs& in, size_t multiprocessors);

// Kv splits for a decode launch of `blocks` blocks a split: the fewest that fill the device, up to four times
// over, with a last wave that is nearly full, or as full as it gets; and no split under 128 keys.
unsigned ChooseSplits(size_t blocks, size_t kv_len, size_t multiprocessors);
// No fewer than ChooseSplits gives for that many blocks or more and up to kv_len rows.
unsigned MaxSplits(size_t blocks, size_t kv_len, size_t multiprocessors);

}  // namespace qwen3vl::attention
