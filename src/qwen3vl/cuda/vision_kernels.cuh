// SPDX-License-Identifier: Apache-2.0
// What a block of the vision tower does besides its products and its attention, in fp32: LayerNorm, q, k and
// v apart with their rotation, GELU. All of it is bound by memory.
#pragma once

#include "hw/device_dialect.cuh"
#include "qwen3vl/cuda/layer_kernels.cuh"
#include "qwen3vl/cuda/vision_params.h"

namespace qwen3vl::gpu {

struct LayerNormShared {
  static constexpr unsigned kWarps = kNormThreads / kWarp;
  float sums[kWarps], rests[kWarps], squares[kWarps];  // of the warps
};

QWEN3VL_DEVICE float SumOfWarps(const float (&sums)[LayerNormShared::kWarps]) {
  float sum = 0;
  QWEN3VL_UNROLL
  for (unsigned w = 0; w < LayerNormShared::kWarps; ++w) sum += sums[w];
  return sum;
}

QWEN3VL_DEVICE void LayerNorm(const LayerNormParams& p) {
  QWEN3VL_SHARED(LayerNormShared, shared);
  const float* x = p.x + static_cast<unsigned long long>(BlockX()) * p.cols;
  float* y = p.y + static_cast<unsigned long long>(BlockX()) * p.cols;
  const unsigned warp = ThreadIndex() / kWarp;
  const bool first_lane = ThreadIndex() % kWarp == 0;
  const float n = static_cast<float>(p.cols);
  float sum = 0;
  QWEN3VL_NO_UNROLL
  for (unsigned c = ThreadIndex(); c < p.cols; c += kNormThreads) sum += x[c];
  sum = SumOfWarp(sum);
  if (first_lane) shared.sums[warp] = sum;
  Barrier();
  const float mean = SumOfWarps(shared.sums) / n;
  float rest = 0, squares = 0;
  QWEN3VL_NO_UNROLL
  for (unsigned c = ThreadIndex(); c < p.cols; c += kNormThreads) {
    const float centred = x[c] - mean;
    rest += centred;
    squares = Fma(centred, centred, squares);
  }
  rest = SumOfWarp(rest);
  squares = SumOfWarp(squares);
  if (first_lane) shared.rests[warp] = rest, shared.squares[warp] = squares;
  Barrier();
  // What the mean was rounded by, or rows with a small spread around a large mean would lose digits.
  const float low = SumOfWarps(shared.rests) / n;
  const float variance = SumOfWarps(shared.squares) / n - low * low;
  const float inverse = 1.0f / Sqrt(variance + p.eps);
  QWEN3VL_NO_UNROLL
  for (unsigned c = ThreadIndex(); c < p.cols; c += kNormThreads)
    y[c] = Fma((x[c] - mean - low) * inverse, p.weight[c], p.bias[c]);
}

// The pair `pair` of a head: x to y, rotated.
QWEN3VL_DEVICE void RotatePair(const float* x, float* y, unsigned pair, unsigned half, float cos, float sin) {
  const float a = x[pair], b = x[pair + half];
  y[pair] = a * cos - b * sin;
  y[pair + half] = b * cos + a * sin;
}

// A warp for each head.
QWEN3VL_DEVICE void SplitHeads(const SplitParams& p) {
  const unsigned lane = ThreadIndex() % kWarp;
  const unsigned head = BlockX() * (kHeadThreads / kWarp) + ThreadIndex() / kWarp;
  if (head >= p.heads) return;
  const unsigned long long token = BlockY(), width = static_cast<unsigned long long>(p.heads) * p.head_dim;
  const unsigned half = p.head_dim / 2;
  const float* q_from = p.qkv + token * 3 * width + head * p.head_dim;
  const float* k_from = q_from + width;
  const float* v_from = k_from + width;
  const unsigned long long kept =
      (static_cast<unsigned long long>(head) * p.capacity + p.first + token) * p.columns;
  float* q = p.q + (token * p.heads + head) * p.columns;
  float* k = p.k + kept;
  float* v = p.v + kept;
  QWEN3VL_NO_UNROLL
  for (unsigned pair = lane; pair < half; pair += kWarp) {
    const float cos = p.cos[token * half + pair], sin = p.sin[token * half + pair];
    RotatePair(q_from, q, pair, half, cos, sin);
    RotatePair(k_from, k, pair, half, cos, sin);
    v[pair] = v_from[pair];
    v[pair + half] = v_from[pair + half];
  }
  QWEN3VL_NO_UNROLL
  for (unsigned c = p.head_dim + lane; c < p.columns; c += kWarp) q[c] = k[c] = v[c] = 0.0f;
}

// e^x. Arguments that overflow give infinity, whose inverse is 0.
QWEN3VL_DEVICE float Exp(float x) { return Exp2(x * 1.44269504f); }

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): 0.5 (1 + tanh(a)) is 1 / (1 + exp(-2a)).
struct GeluTanh {
  QWEN3VL_DEVICE static float Of(float x) {
    const float twice = x * Fma(x * x, 0.071354816f, 1.59576912f);
    return x / (1.0f + Exp(-twice));
  }
};

// 0.5 x (1 + erf(x / sqrt 2)), by the polynomial of layers_simd.cc.
struct GeluErf {
  QWEN3VL_DEVICE static float Of(float x) {
    const float a = Abs(x), t = 1.0f / Fma(0.27f, a, 1.0f);
    float p = 0.029107028f;
    p = Fma(p, t, -0.127242120f);
    p = Fma(p, t, 0.171444687f);
    p = Fma(p, t, -0.0712139169f);
    p = Fma(p, t, 0.109277206f);
    p = Fma(p, t, 0.0714060626f);
    p = Fma(p, t, 0.101980367f);
    p = Fma(p, t, 0.107518603f);
    p = Fma(p, t, 0.107722093f);
    return Fma(-a, Exp(-0.5f * (x * x)) * (p * t), Max(x, 0.0f));
  }
};

template <class Function>
QWEN3VL_DEVICE void Gelu(const GeluParams& p) {
  const unsigned i = BlockX() * kValuesPerBlock + 4 * ThreadIndex();
  if (i >= p.count) return;
  Float4* at = reinterpret_cast<Float4*>(p.x + i);
  const Float4 x = *at;
  *at = {Function::Of(x.x), Function::Of(x.y), Function::Of(x.z), Function::Of(x.w)};
}

}  // namespace qwen3vl::gpu
