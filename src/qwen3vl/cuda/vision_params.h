// SPDX-License-Identifier: Apache-2.0
// What the launches of the vision tower's own kernels are told, as layer_params.h has it for decoder layers.
#pragma once

#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl::gpu {

// y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row; biased variance. Grid: x rows.
struct LayerNormParams {
  const float* x;       // [rows, cols]
  const float* weight;  // [cols]
  const float* bias;    // [cols]
  float* y;             // [rows, cols]
  unsigned cols;
  float eps;
};
static_assert(sizeof(LayerNormParams) == 40, "host and device must agree");

// Rows of q, k and v apart, and the pairs (i, i + head_dim / 2) of q and k rotated. All three get zeros from
// head_dim on. Grid: x groups of 4 heads, y tokens.
struct SplitParams {
  const float* qkv;  // [tokens, 3, heads, head_dim]
  const float* cos;  // [tokens, head_dim / 2]
  const float* sin;
  float* q;  // [tokens, heads, columns]
  float* k;  // [heads, capacity, columns], from row `first` on
  float* v;
  unsigned heads, head_dim, columns, capacity, first;
};
static_assert(sizeof(SplitParams) == 72, "host and device must agree");

// x = gelu(x). Grid: x blocks of 1024 values.
struct GeluParams {
  float* x;        // [count]
  unsigned count;  // a multiple of 4
};
static_assert(sizeof(GeluParams) == 16, "host and device must agree");

}  // namespace qwen3vl::gpu
