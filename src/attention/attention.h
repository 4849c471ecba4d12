// SPDX-License-Identifier: Apache-2.0
// Softmax attention: the entry that checks a problem, picks a path (CUDA tiled, CPU tiled, standard), falls
// back when one cannot run, and reports what it did as a value. Online softmax: Milakov and Gimelshein 2018;
// tiling: Dao et al. 2022 (FlashAttention), algorithm 1.
//
// The standard path keeps a whole row of scores, reads every key and value once per few q rows, and takes
// memory that grows with kv_len. The tiled path never keeps more than one tile of scores: q rows of all heads
// of a group share a tile of keys and values, which is read once per task; a row's running maximum and sum
// let later tiles correct earlier ones. Its scratch depends on the plan only. With few q rows (decode) the kv
// rows are split between the threads and the partial results merged by their log-sum-exp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "attention/kv_cache.h"
#include "hw/aligned_buffer.h"
#include "hw/number_format.h"
#include "hw/parallel.h"
#include "hw/tile_plan.h"

namespace qwen3vl::attention {

enum class Path { kStandard, kCpuTiled, kCudaTiled };
// kAuto never takes the GPU: each call carries all its tensors over the bus, so that only a measurement could
// say where that pays.
enum class PathRequest { kAuto, kStandard, kTiled, kCuda };
enum class FallbackCause { kNone, kUnsupported, kDevice, kMemory, kNumbers };

// How the GPU computes scores: in fp32, or from q and k rounded to 8 bits in blocks of 32 (keys stored as
// q8_0 as they are), which older GPUs multiply four times as fast. Softmax and weighted sums are fp32 either
// way.
enum class GpuScores { kF32, kInt8 };

// How the CPU multiplies many rows on the tiled path: floats, or whole numbers of 16 bits, of which one
// instruction multiplies twice as many. q, keys, weights and values are rounded, each row, key, and dimension
// of a tile by a scale of its own (hw/codes16-inl.h), about as finely as f16 does; softmax is fp32 either
// way. Few rows (a token) and an odd head_dim stay with floats. kAuto: whole numbers where keys and values
// are given in f16, bf16 or q8_0, which have rounded them as coarsely before.
enum class CpuProducts { kAuto, kF32, kInt16 };

std::string_view Name(Path path);             // "standard", "cpu_tiled", "cuda_tiled"
std::string_view Name(FallbackCause cause);   // "none", "unsupported", "device", "memory", "numbers"
std::string_view Name(GpuScores scores);      // "f32", "int8"
std::string_view Name(CpuProducts products);  // "auto", "f32", "int16"

// [batch, rows, heads, head_dim] in memory; the last dimension is contiguous, the strides are in elements.
// For kQ8_0 elements come in blocks of 32 along head_dim and strides are multiples of 32.
struct TensorRef {
  const void* data = nullptr;
  hw::Format format = hw::Format::kF32;
  size_t batch_stride = 0;
  size_t row_stride = 0;
  size_t head_stride = 0;
};

struct Shape {
  size_t batch = 1;
  size_t q_len = 1;
  size_t kv_len = 1;
  size_t n_heads = 1;
  size_t n_kv_heads = 1;  // divides n_heads; query head h reads kv head h / (n_heads / n_kv_heads)
  size_t head_dim = 64;   // 1 .. 256 on the tiled path, any on standard
};

// All given conditions apply together. A row that sees no key gives zeros and lse = -inf. What a row does not
// see has weight 0; a value that is not finite may reach rows beside those that see it, as 0 * inf does in
// the reference.
struct Mask {
  bool causal = false;  // row i sees kv rows 0 .. kv_len - q_len + i (aligned bottom-right)
  // > 0: row i sees only the last `window` kv rows up to its own (bottom-right aligned) position.
  size_t window = 0;
  size_t kv_begin = 0;  // only kv rows kv_begin .. kv_end - 1 exist
  size_t kv_end = SIZE_MAX;
  // [batch]: sequence b has kv rows 0 .. kv_lengths[b] - 1 (right padding); empty: all.
  std::span<const size_t> kv_lengths;
  // Packed lengths: boundaries 0 = s0 < s1 < ... = q_len = kv_len; a segment sees only itself.
  std::span<const size_t> segments;
  const float* bias = nullptr;       // added to scores after softcap; [bias_heads, q_len, kv_len]
  size_t bias_heads = 1;             // 1 or n_heads
  const uint8_t* allowed = nullptr;  // [q_len, kv_len], 0: hidden
};

struct Inputs {
  Shape shape;
  float scale = 0;    // 0: 1 / sqrt(head_dim)
  float softcap = 0;  // > 0: c * tanh(s / c), before bias and masks
  TensorRef q;
  TensorRef k, v;                       // plain tensors ...
  const KvCacheLayer* cache = nullptr;  // ... or a cache layer (then k and v are unused, batch is 1)
  Mask mask;
};

struct Outputs {
  void* out = nullptr;  // [batch, q_len, n_heads, head_dim], contiguous unless out_row_stride is given
  hw::Format out_format = hw::Format::kF32;  // f32, f16 or bf16
  size_t out_row_stride = 0;                 // elements; 0: n_heads * head_dim
  // Optional [batch, n_heads, q_len]: log of the sum of exp(score), -inf for empty rows.
  float* lse = nullptr;
  float* weights = nullptr;  // optional [batch, n_heads, q_len, kv_len]: standard path only
};

struct Options {
  PathRequest request = PathRequest::kAuto;
  GpuScores gpu_scores = GpuScores::kF32;
  CpuProducts cpu_products = CpuProducts::kF32;
  hw::TilePlan plan;  // tile, q_rows, threads
  // Handed to every ParallelFor as hw::Threads{plan.threads, cancel}.
  const std::atomic<bool>* cancel = nullptr;
  bool check_finite = false;  // look for non-finite results of finite inputs, and fall back on them
  // Every q row is computed as if it were the only one of the call and saw keys up to its own place: it gets
  // the same bits, which otherwise depend on the rows beside it. For a few tokens on a KV cache, with a
  // causal mask and no bias, `allowed`, segments, log-sum-exp or weights; not on a GPU.
  bool each_alone = false;
};

// What was asked, what ran, and why they differ if they do.
struct AttentionReport {
  PathRequest asked = PathRequest::kAuto;
  Path used = Path::kStandard;
  FallbackCause cause = FallbackCause::kNone;  // of the last fallback, where there were two
  std::string sentence;                        // of all of them; empty when nothing fell back
  size_t tile = 0;                             // kv rows per step that ran; 0 on the standard path
  std::string tile_reason;                     // why these: the plan's reason, and what changed them since
  GpuScores scores = GpuScores::kF32;          // of what ran: kInt8 on the CUDA path only
  CpuProducts products = CpuProducts::kF32;    // of what ran: kInt16 on the CPU's tiled path only
};

// Scratch that calls share; grows on demand and is bounded by the plan, not by the lengths. One per caller
// thread.
class Workspace {
 public:
  size_t bytes() const { return buffer_.bytes(); }
  // At least `count` floats, cache-line aligned; earlier content is lost. Throws std::bad_alloc.
  float* Reserve(size_t count) {
    buffer_.Reserve(count);
    return buffer_.data();
  }

 private:
  hw::AlignedBuffer<float> buffer_;
};

// Throws Error(kInvalidArgument) only for contradictory shapes, and Error(kOutOfMemory) when not even the
// standard path has the memory for a row of scores; everything else that cannot run falls back.
AttentionReport Attend(const Inputs& in, const Outputs& out, const Options& options, Workspace& workspace);

}  // namespace qwen3vl::attention
