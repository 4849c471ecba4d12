// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts does besides its products: routing, the grouping of tokens by expert, and the
// weighted sum of what the experts made. All of it stays on the device, in an order that does not depend on
// which thread comes first.
#pragma once

#include "hw/device_dialect.cuh"
#include "qwen3vl/cuda/expert_params.h"

namespace qwen3vl::gpu {

// A warp for each token. Each turn finds the best logit of those after the last one found, in the order of
// falling logits and, among equal ones, of rising experts: nothing has to be marked as taken.
QWEN3VL_DEVICE void RouteTokens(const RouteParams& p) {
  constexpr float kLog2E = 1.44269504f;
  const unsigned lane = ThreadIndex() % kWarp;
  const unsigned token = BlockX() * (kRouteThreads / kWarp) + ThreadIndex() / kWarp;
  if (token >= p.n) return;
  const float* logits = p.logits + static_cast<unsigned long long>(token) * p.n_experts;
  float last = -NegativeInfinity();
  unsigned next = 0;  // expert, of those whose logit equals the last one
  float largest = 0, sum = 0, weight = 0;
  unsigned expert = 0;  // and weight: of turn number `lane`
  QWEN3VL_NO_UNROLL
  for (unsigned turn = 0; turn < p.used; ++turn) {
    float best = NegativeInfinity();
    unsigned found = p.n_experts;
    const auto offer = [&](float logit, unsigned of) {
      if (logit > best || (logit == best && of < found)) best = logit, found = of;
    };
    QWEN3VL_NO_UNROLL
    for (unsigned e = lane; e < p.n_experts; e += kWarp) {
      const float logit = logits[e];
      if (logit < last || (logit == last && e >= next)) offer(logit, e);
    }
    QWEN3VL_UNROLL
    for (unsigned mask = kWarp / 2; mask > 0; mask /= 2) {
      const float logit = ShuffleXor(best, mask);
      const unsigned of = BitsOf(ShuffleXor(FloatOf(found), mask));
      offer(logit, of);
    }
    if (turn == 0) largest = best;
    // Beside a logit that is not a number too few are found: the sum must show it.
    const bool any = found < p.n_experts;
    const float share = any ? Exp2((best - largest) * kLog2E) : FloatOf(0x7fc00000u);
    sum += share;
    if (turn == lane) weight = share, expert = any ? found : 0;
    last = best;
    next = found + 1;
  }
  if (lane >= p.used) return;
  const unsigned long long at = static_cast<unsigned long long>(token) * p.used + lane;
  p.experts[at] = expert;
  p.weights[at] = weight / sum;
}

struct GroupShared {
  static constexpr unsigned kAtOnce = 1024;
  unsigned experts[kAtOnce];
  unsigned pairs[kMaxExperts], tiles[kMaxExperts];  // of each expert; later: of all before it
  unsigned all_tiles;
};

// visit(i) for the pairs of `expert`, which another thread asks for others of. All threads must call.
template <class F>
QWEN3VL_DEVICE void ForPairsOf(const GroupParams& p, unsigned expert, GroupShared& shared, const F& visit) {
  QWEN3VL_NO_UNROLL
  for (unsigned first = 0; first < p.n_pairs; first += GroupShared::kAtOnce) {
    const unsigned left = p.n_pairs - first;
    const unsigned n = left < GroupShared::kAtOnce ? left : GroupShared::kAtOnce;
    Barrier();
    QWEN3VL_NO_UNROLL
    for (unsigned i = ThreadIndex(); i < n; i += kGroupThreads) shared.experts[i] = p.experts[first + i];
    Barrier();
    QWEN3VL_NO_UNROLL
    for (unsigned i = 0; i < n; ++i)
      if (shared.experts[i] == expert) visit(first + i);
  }
}

// A thread for each expert counts its pairs; their places follow from the counts. The last threads count for
// experts that do not exist, which have none.
QWEN3VL_DEVICE void GroupPairs(const GroupParams& p) {
  QWEN3VL_SHARED(GroupShared, shared);
  const unsigned t = ThreadIndex();
  QWEN3VL_NO_UNROLL
  for (unsigned first = 0; first < p.n_experts; first += kGroupThreads) {
    const unsigned expert = first + t;
    unsigned count = 0;
    ForPairsOf(p, expert, shared, [&](unsigned) { ++count; });
    shared.pairs[expert] = count;
    shared.tiles[expert] = (count + kTileRows - 1) / kTileRows;
  }
  Barrier();
  if (t == 0) {
    unsigned pairs = 0, tiles = 0;
    QWEN3VL_NO_UNROLL
    for (unsigned e = 0; e < p.n_experts; ++e) {
      const unsigned of_expert = shared.pairs[e], its_tiles = shared.tiles[e];
      shared.pairs[e] = pairs;
      shared.tiles[e] = tiles;
      pairs += of_expert;
      tiles += its_tiles;
    }
    shared.all_tiles = tiles;
  }
  Barrier();
  QWEN3VL_NO_UNROLL
  for (unsigned first = 0; first < p.n_experts; first += kGroupThreads) {
    const unsigned expert = first + t;
    const unsigned begin = shared.pairs[expert];
    unsigned end = begin, tile = shared.tiles[expert];
    ForPairsOf(p, expert, shared, [&](unsigned pair) { p.order[end++] = pair; });
    QWEN3VL_NO_UNROLL
    for (unsigned at = begin; at < end; at += kTileRows)
      p.tiles[tile++] = {expert, at, end - at < kTileRows ? end - at : kTileRows, 0};
  }
  QWEN3VL_NO_UNROLL
  for (unsigned tile = shared.all_tiles + t; tile < p.n_tiles; tile += kGroupThreads)
    p.tiles[tile] = {0, 0, 0, 0};
}

QWEN3VL_DEVICE void MixExperts(const MixParams& p) {
  const unsigned c = BlockX() * kValuesPerBlock + 4 * ThreadIndex();
  if (c >= p.cols) return;
  const unsigned long long first = static_cast<unsigned long long>(BlockY()) * p.used;
  Float4* to = reinterpret_cast<Float4*>(p.x + static_cast<unsigned long long>(BlockY()) * p.cols + c);
  Float4 x = *to;
  QWEN3VL_NO_UNROLL
  for (unsigned i = 0; i < p.used; ++i) {
    const Float4 y = *reinterpret_cast<const Float4*>(p.y + (first + i) * p.cols + c);
    const float w = p.weights[first + i];
    x = {Fma(w, y.x, x.x), Fma(w, y.y, x.y), Fma(w, y.z, x.z), Fma(w, y.w, x.w)};
  }
  *to = x;
}

}  // namespace qwen3vl::gpu
