// SPDX-License-Identifier: Apache-2.0
// Everything of a decoder layer but its products and its attention, in fp32: norms, rotation, activations to
// 8 bits, new rows into the cache, SwiGLU, rows of picture features. All of it is bound by memory.
#pragma once

#include "hw/device_dialect.cuh"
#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl::gpu {

QWEN3VL_DEVICE float SumOfWarp(float x) {
  QWEN3VL_UNROLL
  for (unsigned mask = kWarp / 2; mask > 0; mask /= 2) x += ShuffleXor(x, mask);
  return x;
}

QWEN3VL_DEVICE float Abs(float x) { return FloatOf(BitsOf(x) & 0x7fffffffu); }

// To the nearest whole number, halves to even, as an integer; |x| < 2^22.
QWEN3VL_DEVICE int RoundToInt(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: from here on floats are whole numbers
  return static_cast<int>(BitsOf(x + kShift)) - 0x4b400000;
}

struct NormShared {
  float sums[kNormThreads / kWarp];  // of the warps
};

QWEN3VL_DEVICE void RmsNorm(const NormParams& p) {
  QWEN3VL_SHARED(NormShared, shared);
  const float* x = p.x + static_cast<unsigned long long>(BlockX()) * p.cols;
  float* y = p.y + static_cast<unsigned long long>(BlockX()) * p.cols;
  float sum = 0;
  QWEN3VL_NO_UNROLL
  for (unsigned c = ThreadIndex(); c < p.cols; c += kNormThreads) sum = Fma(x[c], x[c], sum);
  sum = SumOfWarp(sum);
  if (ThreadIndex() % kWarp == 0) shared.sums[ThreadIndex() / kWarp] = sum;
  Barrier();
  sum = 0;
  QWEN3VL_UNROLL
  for (unsigned w = 0; w < kNormThreads / kWarp; ++w) sum += shared.sums[w];
  const float inverse = 1.0f / Sqrt(sum / static_cast<float>(p.cols) + p.eps);
  QWEN3VL_NO_UNROLL
  for (unsigned c = ThreadIndex(); c < p.cols; c += kNormThreads) y[c] = x[c] * inverse * p.weight[c];
}

// Eight lanes share 32 columns, four each. A value that is not finite makes the scale NaN, so that it reaches
// the result.
QWEN3VL_DEVICE void QuantizeRows(const QuantizeParams& p) {
  const unsigned column = BlockX() * kQuantizeCols + 4 * ThreadIndex();
  const unsigned long long row = BlockY();
  Float4 x = {0, 0, 0, 0};
  if (column < p.cols) x = *reinterpret_cast<const Float4*>(p.x + row * p.cols + column);
  float largest = Max(Max(Abs(x.x), Abs(x.y)), Max(Abs(x.z), Abs(x.w)));
  float zero = x.x * 0.0f + x.y * 0.0f + x.z * 0.0f + x.w * 0.0f;
  QWEN3VL_UNROLL
  for (unsigned mask = 4; mask > 0; mask /= 2) {
    largest = Max(largest, ShuffleXor(largest, mask));
    zero += ShuffleXor(zero, mask);
  }
  const float scale = largest / 127.0f + zero;
  const bool finite = zero == 0.0f;
  const float inverse = finite && largest > 0.0f ? 127.0f / largest : 0.0f;
  const float values[4] = {x.x, x.y, x.z, x.w};
  unsigned word = 0;
  int sum = 0;
  QWEN3VL_UNROLL
  for (int i = 0; i < 4; ++i) {
    // The inverse of a subnormal maximum is infinite: keep within range.
    const float level = finite ? Max(-127.0f, -Max(-127.0f, -(values[i] * inverse))) : 0.0f;
    const int q = RoundToInt(level);
    sum += q;
    word |= (static_cast<unsigned>(q) & 0xffu) << (8 * i);
  }
  float sum16 = static_cast<float>(sum);
  QWEN3VL_UNROLL
  for (unsigned mask = 2; mask > 0; mask /= 2) sum16 += ShuffleXor(sum16, mask);
  if (column >= p.padded) return;
  const unsigned long long at = row * p.padded + column;
  p.q[at / 4] = word;
  if (column % 16 == 0) p.sums[at / 16] = scale * sum16;
  if (column % 32 == 0) p.scales[at / 32] = scale;
}

// A warp for each head; lane l holds the pairs l and l + 32.
QWEN3VL_DEVICE void NormAndRotateHeads(const HeadParams& p) {
  constexpr int kPairs = kMaxHeadDim / 2 / kWarp;
  const unsigned lane = ThreadIndex() % kWarp;
  const unsigned head = BlockX() * (kHeadThreads / kWarp) + ThreadIndex() / kWarp;
  if (head >= p.heads) return;
  const unsigned half = p.head_dim / 2;
  const unsigned long long index = static_cast<unsigned long long>(BlockY()) * p.heads + head;
  const float* x = p.x + index * p.head_dim;
  const float* cos = p.cos + static_cast<unsigned long long>(BlockY()) * half;
  const float* sin = p.sin + static_cast<unsigned long long>(BlockY()) * half;
  float low[kPairs], high[kPairs], sum = 0;
  QWEN3VL_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    const unsigned pair = lane + i * kWarp;
    low[i] = pair < half ? x[pair] : 0.0f;
    high[i] = pair < half ? x[pair + half] : 0.0f;
    sum = Fma(low[i], low[i], sum);
    sum = Fma(high[i], high[i], sum);
  }
  sum = SumOfWarp(sum);
  const float inverse = 1.0f / Sqrt(sum / static_cast<float>(p.head_dim) + p.eps);
  float* y = p.y + index * p.columns;
  QWEN3VL_UNROLL
  for (int i = 0; i < kPairs; ++i) {
    const unsigned pair = lane + i * kWarp;
    if (pair >= half) continue;
    float a = low[i], b = high[i];
    if (p.weight) {
      a = a * inverse * p.weight[pair];
      b = b * inverse * p.weight[pair + half];
    }
    y[pair] = a * cos[pair] - b * sin[pair];
    y[pair + half] = b * cos[pair] + a * sin[pair];
  }
  QWEN3VL_NO_UNROLL
  for (unsigned c = p.head_dim + lane; c < p.columns; c += kWarp) y[c] = 0.0f;
}

enum class KeepAs { kF32, kBF16, kF16, kQ8_0 };  // kBF16: rounded to it, stored as floats

QWEN3VL_DEVICE float RoundToBF16(float x) {
  const unsigned u = BitsOf(x);
  return FloatOf(((u + 0x7fffu + ((u >> 16) & 1u)) >> 16) << 16);
}

// A lane for each of 32 columns, which are a block of q8_0.
template <KeepAs kAs>
QWEN3VL_DEVICE void KeepRows(const KeepParams& p) {
  const unsigned lane = ThreadIndex() % kWarp;
  const unsigned head = BlockX() * (kHeadThreads / kWarp) + ThreadIndex() / kWarp;
  if (head >= p.heads) return;
  const float* x = p.x + (static_cast<unsigned long long>(BlockY()) * p.heads + head) * p.head_dim;
  const unsigned long long to =
      (static_cast<unsigned long long>(head) * p.capacity + p.first + BlockY()) * p.columns;
  QWEN3VL_NO_UNROLL
  for (unsigned first = 0; first < p.columns; first += kWarp) {
    const unsigned c = first + lane;
    const float value = c < p.head_dim ? x[c] : 0.0f;
    if constexpr (kAs == KeepAs::kQ8_0) {
      float largest = Abs(value);
      QWEN3VL_UNROLL
      for (unsigned mask = kWarp / 2; mask > 0; mask /= 2) largest = Max(largest, ShuffleXor(largest, mask));
      const float scale = largest / 127.0f;
      const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
      const float level = Max(-127.0f, -Max(-127.0f, -(value * inverse)));
      static_cast<signed char*>(p.rows)[to + c] = static_cast<signed char>(RoundToInt(level));
      if (lane == 0) p.scales[(to + c) / 32] = FloatToHalf(scale);
    } else if (c < p.columns) {
      if constexpr (kAs == KeepAs::kF16)
        static_cast<unsigned short*>(p.rows)[to + c] = FloatToHalf(value);
      else
        static_cast<float*>(p.rows)[to + c] = kAs == KeepAs::kBF16 ? RoundToBF16(value) : value;
    }
  }
}

QWEN3VL_DEVICE void SwiGlu(const SwiGluParams& p) {
  constexpr float kLog2E = 1.44269504f;
  const unsigned i = BlockX() * kValuesPerBlock + 4 * ThreadIndex();
  if (i >= p.count) return;
  const Float4 gate = *reinterpret_cast<const Float4*>(p.gate + i);
  const Float4 up = *reinterpret_cast<const Float4*>(p.up + i);
  const auto act = [](float g, float u) { return g / (1.0f + Exp2(-g * kLog2E)) * u; };
  *reinterpret_cast<Float4*>(p.gate + i) = {act(gate.x, up.x), act(gate.y, up.y), act(gate.z, up.z),
                                            act(gate.w, up.w)};
}

QWEN3VL_DEVICE void Narrow(const NarrowParams& p) {
  QWEN3VL_NO_UNROLL
  for (unsigned n = 0; n < kValuesPerBlock; n += kValueThreads) {
    const unsigned i = BlockX() * kValuesPerBlock + n + ThreadIndex();
    if (i >= p.count) return;
    p.y[i] = p.x[static_cast<unsigned long long>(i / p.head_dim) * p.columns + i % p.head_dim];
  }
}

QWEN3VL_DEVICE void AddRows(const AddRowsParams& p) {
  const unsigned c = BlockX() * kValuesPerBlock + 4 * ThreadIndex();
  if (c >= p.cols) return;
  const Float4 add =
      *reinterpret_cast<const Float4*>(p.rows + static_cast<unsigned long long>(BlockY()) * p.cols + c);
  Float4* to = reinterpret_cast<Float4*>(p.x + static_cast<unsigned long long>(p.at[BlockY()]) * p.cols + c);
  const Float4 x = *to;
  *to = {x.x + add.x, x.y + add.y, x.z + add.z, x.w + add.w};
}

}  // namespace qwen3vl::gpu
