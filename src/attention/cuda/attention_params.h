// SPDX-License-Identifier: Apache-2.0
// What a launch of the attention kernels is told, shared by host and device: one struct by value (compute
// capability 6.1 takes 4 KB). Plain types only, so that device compilers need no header.
#pragma once

namespace qwen3vl::gpu {

// Storage of K and V on the device.
enum class KvFormat : unsigned { kF32, kF16, kQ8_0 };

// How scores are computed: in floats, or from q and k rounded to 8 bits (codes.cuh).
enum class ScoreType : unsigned { kF32, kInt8 };

// A q row sees kv rows begin .. end - 1. Both never fall from one q row of a sequence to the next.
struct SeenRange {
  unsigned begin, end;
};

// D is the kernel's head_dim. Row r of kv head h (0 <= r < q_len * group, group = n_heads / n_kv_heads) is
// token r / group of query head h * group + r % group: the heads that share keys share a block.
struct AttentionParams {
  const float* q;                  // [batch, q_len, n_heads, D]
  const void* k;                   // [batch, n_kv_heads, kv_len, D] in KvFormat; kQ8_0: the signed bytes
  const void* v;                   // likewise
  const unsigned short* k_scales;  // kQ8_0: F16 bits, [batch, n_kv_heads, kv_len, D / 32]
  const unsigned short* v_scales;
  const SeenRange* seen;  // [batch, q_len]
  float* out;             // [batch, q_len, n_heads, D]
  float* stats;           // [batch, q_len, n_heads, 2]: largest score (log 2), sum of 2^(score - largest)
  float* partial;         // decode: weighted sums [batch, n_kv_heads, splits, q_len * group, D]
  float* partial_stats;   // decode: [batch, n_kv_heads, splits, q_len * group, 2]
  // |scale| * log2(e), applied after the largest score is subtracted: rounding q times it would cost large
  // scores a digit. q takes the sign, which rounds nothing.
  float score_factor, q_sign;
  unsigned q_len, kv_len, n_heads, n_kv_heads;
  unsigned splits, split_rows;  // decode: split s takes kv rows s * split_rows .. (s + 1) * split_rows - 1
};
static_assert(sizeof(AttentionParams) == 112, "host and device must agree");

constexpr unsigned kPrefillRows = 64;  // rows of a block of the prefill kernels
constexpr unsigned kDecodeRows = 4;    // rows of a block of the decode kernel
constexpr unsigned kDecodeThreads = 128;
constexpr unsigned kDecodeBlocks = 3;  // of the decode kernel that a multiprocessor holds at a time
constexpr unsigned kMergeThreads = 128;

}  // namespace qwen3vl::gpu
