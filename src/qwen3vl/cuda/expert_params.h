// SPDX-License-Identifier: Apache-2.0
// What the launches of a mixture of experts are told, as in layer_params.h. A pair is a token and one of the
// experts that it is routed to: pair i is of token i / used.
#pragma once

#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl::gpu {

constexpr unsigned kMaxExperts = 1024;
constexpr unsigned kMaxUsedExperts = 32;  // of a token: a lane holds each

// The experts of every token, best first, and the softmax of their logits. Of equal logits the lower expert
// comes first; where one is not a number, weights are not, either. Grid: x groups of 4 tokens.
struct RouteParams {
  const float* logits;  // [n, n_experts]
  unsigned* experts;    // [n, used]
  float* weights;       // [n, used]; a row sums to 1
  unsigned n, n_experts, used;
};
static_assert(sizeof(RouteParams) == 40, "host and device must agree");
constexpr unsigned kRouteThreads = 128;

// Up to kTileRows pairs of one expert: order[first] to order[first + count - 1].
struct alignas(16) ExpertTile {
  unsigned expert, first, count, unused;
};

// All pairs in the order of their experts, those of one expert in their own, cut into tiles. Grid: 1.
struct GroupParams {
  const unsigned* experts;  // [n_pairs]
  unsigned* order;          // [n_pairs]
  ExpertTile* tiles;        // [n_tiles]; those that are not needed have no pairs
  unsigned n_pairs, n_experts, n_tiles;
};
static_assert(sizeof(GroupParams) == 40, "host and device must agree");
constexpr unsigned kGroupThreads = 256;
static_assert(kMaxExperts % kGroupThreads == 0, "every thread has a place for what it counts");

// x[token] += sum over its pairs of weight * y. Grid: x blocks of 1024 columns, y tokens.
struct MixParams {
  const float* y;        // [n, used, cols]
  const float* weights;  // [n, used]
  float* x;              // [n, cols]
  unsigned cols, used;   // cols: a multiple of 4
};
static_assert(sizeof(MixParams) == 32, "host and device must agree");

// Every pair's row of y = its row of x times its expert's weights. Grid: x as ProductParams has it; y pairs,
// or tiles.
struct ExpertProductParams {
  ProductParams product;    // weights of expert 0, n pairs, x [n / share, cols]; no bias, no accumulation
  const unsigned* experts;  // [n]
  const unsigned* order;    // [n] and
  const ExpertTile* tiles;  // for products by tiles
  unsigned long long expert_bytes;  // from one expert's weights to the next
  unsigned share;                   // pairs next to each other that have one row of x
};
static_assert(sizeof(ExpertProductParams) == 120, "host and device must agree");

}  // namespace qwen3vl::gpu
