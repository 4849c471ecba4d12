// SPDX-License-Identifier: Apache-2.0
// What the launches of a decoder layer's kernels are told, shared by host and device: one struct by value
// each. Plain types only, so that device compilers need no header. Arrays are row-major and begin at
// multiples of 16 bytes.
#pragma once

namespace qwen3vl::gpu {

// How a weight matrix [rows, cols] lies on the device (device_weight.h).
enum class WeightFormat : unsigned { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_K, kQ5_K, kQ6_K };
constexpr unsigned kWeightFormats = 8;

constexpr unsigned kBlockCols = 256;  // of a block of codes; rows of codes are padded to it

// y = x * weight / sqrt(mean of x^2 + eps), row by row. Grid: x rows.
struct NormParams {
  const float* x;       // [rows, cols]
  const float* weight;  // [cols]
  float* y;             // [rows, cols]
  unsigned cols;
  float eps;
};
static_assert(sizeof(NormParams) == 32, "host and device must agree");
constexpr unsigned kNormThreads = 256;

// Activations to 8 bits: x[i] ~ scale * q[i], one scale for 32. Grid: x blocks of 1024 columns, y rows.
struct QuantizeParams {
  const float* x;   // [rows, cols]
  unsigned* q;      // [rows, padded] signed bytes
  float* scales;    // [rows, padded / 32]
  float* sums;      // [rows, padded / 16]: scale * sum of 16 q
  unsigned cols;    // a multiple of 4
  unsigned padded;  // a multiple of kBlockCols
};
static_assert(sizeof(QuantizeParams) == 40, "host and device must agree");
constexpr unsigned kQuantizeThreads = 256;
constexpr unsigned kQuantizeCols = 4 * kQuantizeThreads;

// Norm of every head (where there is a weight), then rotation of the pairs (i, i + head_dim / 2). x and y may
// be the same where columns == head_dim. Grid: x groups of 4 heads, y tokens.
struct HeadParams {
  const float* x;       // [tokens, heads, head_dim]
  const float* weight;  // [head_dim], or null
  const float* cos;     // [tokens, head_dim / 2]
  const float* sin;
  float* y;  // [tokens, heads, columns]; zeros from head_dim on
  unsigned heads, head_dim, columns;
  float eps;
};
static_assert(sizeof(HeadParams) == 56, "host and device must agree");
constexpr unsigned kHeadThreads = 128;
constexpr unsigned kMaxHeadDim = 128;

// New rows of K or V into the cache, from row `first` on. Grid: x groups of 4 heads, y tokens.
struct KeepParams {
  const float* x;          // [tokens, heads, head_dim]
  void* rows;              // [heads, capacity, columns]; zeros from head_dim on
  unsigned short* scales;  // q8_0: F16 bits, [heads, capacity, columns / 32]
  unsigned heads, head_dim, columns, capacity, first;
};
static_assert(sizeof(KeepParams) == 48, "host and device must agree");

// gate = gate / (1 + exp(-gate)) * up. Grid: x blocks of 1024 values.
struct SwiGluParams {
  float* gate;      // [count]
  const float* up;  // [count]
  unsigned count;   // a multiple of 4
};
static_assert(sizeof(SwiGluParams) == 24, "host and device must agree");
constexpr unsigned kValueThreads = 256;
constexpr unsigned kValuesPerBlock = 4 * kValueThreads;

// The first head_dim columns of rows of `columns`. Grid: x blocks of 1024 values of y.
struct NarrowParams {
  const float* x;                     // [rows, columns]
  float* y;                           // [rows, head_dim]
  unsigned columns, head_dim, count;  // count = rows * head_dim
};
static_assert(sizeof(NarrowParams) == 32, "host and device must agree");

// x[at[i]] += rows[i]. Grid: x blocks of 1024 columns, y rows. No two of `at` are alike.
struct AddRowsParams {
  const float* rows;   // [n, cols]
  const unsigned* at;  // [n]
  float* x;            // [tokens, cols]
  unsigned cols;       // a multiple of 4
};
static_assert(sizeof(AddRowsParams) == 32, "host and device must agree");

// y = x W^T + b, or y += x W^T + b. Weights with codes take x in 8 bits, the others as floats.
struct ProductParams {
  const void* weights;  // [rows, cols]
  const float* x;       // [n, cols]
  const unsigned* q;    // [n, padded] and so on, as QuantizeParams has it
  const float* scales;
  const float* sums;
  const float* bias;  // [rows], or null
  float* y;           // [n, rows]
  unsigned rows, cols, n;
  unsigned blocks;      // padded / kBlockCols
  unsigned row_bytes;   // from one row of weights to the next
  unsigned accumulate;  // 1: y += ...
};
static_assert(sizeof(ProductParams) == 80, "host and device must agree");
constexpr unsigned kDotThreads = 128;  // a warp for each row of weights; grid: x groups of 4 rows
constexpr unsigned kDotRows = kDotThreads / 32;
constexpr unsigned kMaxDotTokens = 4;   // rows of x up to which weights are streamed
constexpr unsigned kTileThreads = 256;  // grid: x groups of 64 rows of weights, y groups of 64 of x
constexpr unsigned kTileRows = 64;

}  // namespace qwen3vl::gpu
