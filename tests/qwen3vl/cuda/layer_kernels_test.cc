// SPDX-License-Identifier: Apache-2.0
// What a decoder layer does besides products and attention: against the CPU's own functions or float64,
// source and PTX bit-equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/row_codec.h"
#include "cuda/kernel_runs.h"
#include "qwen3vl/cuda/device_address.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/layer_params.h"
#include "qwen3vl/layers.h"
#include "qwen3vl/linear_simd.h"
#include "rope/rope.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

using test::Bytes;
using test::ExpectOneResult;

constexpr hw::Threads kOneThread{1};
// fp32 in another order, where the CPU sums in double.
constexpr double kTolerance = 1e-6;

TEST(DeviceLayerKernels, RmsNorm) {
  for (const unsigned cols : {8u, 256u, 260u, 1000u}) {
    std::vector<float> x = test::SeededNormal(1, 3 * cols, 30);
    for (unsigned c = 0; c < cols; ++c) x[cols + c] *= 1e-5f;  // a row that eps decides about
    const std::vector<float> w = test::SeededNormal(2, cols);
    std::vector<float> y(3 * cols, NAN), wanted(3 * cols);
    const gpu::NormParams p{x.data(), w.data(), y.data(), cols, 1e-6f};
    ExpectOneResult(EmbeddedDeviceCode(), "layer_rms_norm", {3}, &p, Bytes(y));
    RmsNorm({x.data(), 3, cols}, w.data(), 1e-6f, {wanted.data(), 3, cols}, kOneThread);
    for (size_t row = 0; row < 3; ++row)
      EXPECT_LE(test::RelativeError(std::span(y).subspan(row * cols, cols),
                                    std::span<const float>(wanted).subspan(row * cols, cols)),
                kTolerance);
  }
}

TEST(DeviceLayerKernels, QuantizesAsTheCpuDoes) {
  for (const unsigned cols : {32u, 256u, 1056u}) {
    std::vector<float> x = test::SeededNormal(1, cols, 3);
    x[5] = 0;
    if (cols > 64)  // a subnormal maximum, whose inverse is infinite
      for (size_t i = 32; i < 64; ++i) x[i] = i % 2 ? 1e-39f : -1e-40f;
    const unsigned padded = static_cast<unsigned>(QuantizedRow::Padded(cols));
    std::vector<unsigned> q(padded / 4, 0xffffffff);
    std::vector<float> scales(padded / 32, NAN), sums(padded / 16, NAN);
    const gpu::QuantizeParams p{x.data(), q.data(), scales.data(), sums.data(), cols, padded};
    const gpu::Grid grid{Groups(padded, gpu::kQuantizeCols), 1};
    ExpectOneResult(EmbeddedDeviceCode(), "layer_quantize", grid, &p, Bytes(q));
    ExpectOneResult(EmbeddedDeviceCode(), "layer_quantize", grid, &p, Bytes(scales));
    ExpectOneResult(EmbeddedDeviceCode(), "layer_quantize", grid, &p, Bytes(sums));
    hw::AlignedBuffer<std::byte> wanted(QuantizedRow::Bytes(cols));
    QuantizeActivationRow(x.data(), cols, wanted.data());
    EXPECT_EQ(std::memcmp(q.data(), wanted.data(), padded), 0);
    for (size_t b = 0; b < padded / 32; ++b) {
      const auto* step =
          reinterpret_cast<const float*>(wanted.data() + padded) + b / 8 * QuantizedRow::kFloatsPerStep;
      EXPECT_EQ(scales[b], step[b % 8]) << b;
      EXPECT_EQ(sums[2 * b], step[32 + 2 * (b % 8)]) << b;
      EXPECT_EQ(sums[2 * b + 1], step[33 + 2 * (b % 8)]) << b;
    }
  }
}

TEST(DeviceLayerKernels, WhatIsNotFiniteMakesTheScaleNaN) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> x(64, 1.0f);
    x[40] = bad;
    std::vector<unsigned> q(64);
    std::vector<float> scales(8), sums(16);
    const gpu::QuantizeParams p{x.data(), q.data(), scales.data(), sums.data(), 64, 256};
    test::RunSource("layer_quantize", {1, 1}, &p);
    EXPECT_EQ(scales[0], 1.0f / 127.0f);
    EXPECT_TRUE(std::isnan(scales[1]));
  }
}

TEST(DeviceLayerKernels, NormsAndRotatesHeads) {
  struct Case {
    unsigned heads, head_dim, columns;
    bool norm;
    float amplitude = 5;  // a small one lets eps decide
  };
  for (const Case& c : {Case{5, 128, 128, true},
                        {4, 32, 64, true},
                        {1, 80, 80, false},
                        {6, 64, 64, true},
                        {3, 64, 64, true, 1e-4f}}) {
    const unsigned tokens = 3;
    const std::vector<float> x = test::SeededNormal(1, tokens * c.heads * c.head_dim, c.amplitude),
                             w = test::SeededNormal(2, c.head_dim);
    const std::vector<rope::Position> positions = {{0, 0, 0}, {7, 3, 5}, {900, 901, 4}};
    const unsigned h = c.head_dim / 2 / 3;
    const rope::RopeTable rope =
        rope::RopeTable::Text(positions, c.head_dim, 5e6, {c.head_dim / 2 - 2 * h, h, h});
    std::vector<float> y(tokens * c.heads * c.columns, NAN), wanted = x;
    const gpu::HeadParams p{x.data(),    c.norm ? w.data() : nullptr,
                            rope.cos(0), rope.sin(0),
                            y.data(),    c.heads,
                            c.head_dim,  c.columns,
                            1e-6f};
    ExpectOneResult(EmbeddedDeviceCode(), "layer_heads", {Groups(c.heads, 4), tokens}, &p, Bytes(y));
    const hw::MatrixView<float> view(wanted.data(), tokens, c.heads * c.head_dim);
    if (c.norm) RmsNormHeads(view, c.heads, c.head_dim, w.data(), 1e-6f, kOneThread);
    rope::Rotate(rope, view, c.heads, kOneThread);
    std::vector<float> found;
    for (size_t row = 0; row < tokens * c.heads; ++row)
      for (size_t i = 0; i < c.columns; ++i)
        if (i < c.head_dim)
          found.push_back(y[row * c.columns + i]);
        else
          EXPECT_EQ(y[row * c.columns + i], 0.0f);
    EXPECT_LE(test::RelativeError(found, std::span<const float>(wanted)), kTolerance);
  }
}

// Rows as the cache in main memory stores them, and no other rows touched.
TEST(DeviceLayerKernels, KeepsRowsAsTheCacheDoes) {
  struct Case {
    const char* kernel;
    hw::Format format;
    unsigned head_dim, columns;
  };
  for (const Case& c : {Case{"layer_keep_F32", hw::Format::kF32, 72, 72},
                        {"layer_keep_BF16", hw::Format::kBF16, 32, 64},
                        {"layer_keep_F16", hw::Format::kF16, 128, 128},
                        {"layer_keep_F16", hw::Format::kF16, 80, 80},
                        {"layer_keep_Q8_0", hw::Format::kQ8_0, 128, 128},
                        {"layer_keep_Q8_0", hw::Format::kQ8_0, 32, 64}}) {
    SCOPED_TRACE(c.kernel);
    const unsigned heads = 5, capacity = 4, first = 1, tokens = 2;
    const bool q8 = c.format == hw::Format::kQ8_0;
    const size_t element = q8 ? 1 : c.format == hw::Format::kF16 ? 2 : 4;
    std::vector<float> x = test::SeededNormal(3, tokens * heads * c.head_dim, 4);
    x[0] = 1 + 0x1p-8f, x[1] = 1 + 0x1.8p-7f;  // halfway between two of bf16: to the even one
    const std::byte untouched{0x55};
    std::vector<std::byte> rows(heads * capacity * c.columns * element, untouched);
    std::vector<unsigned short> scales(q8 ? heads * capacity * c.columns / 32 : 0, 0x5555);
    const gpu::KeepParams p{x.data(),   rows.data(), scales.data(), heads,
                            c.head_dim, c.columns,   capacity,      first};
    ExpectOneResult(EmbeddedDeviceCode(), c.kernel, {Groups(heads, 4), tokens}, &p, Bytes(rows));
    ExpectOneResult(EmbeddedDeviceCode(), c.kernel, {Groups(heads, 4), tokens}, &p, Bytes(scales));
    for (size_t h = 0; h < heads; ++h)
      for (size_t pos = 0; pos < capacity; ++pos) {
        const std::span row(&rows[(h * capacity + pos) * c.columns * element], c.columns * element);
        if (pos < first || pos >= first + tokens) {
          EXPECT_TRUE(std::ranges::all_of(row, [&](std::byte b) { return b == untouched; }));
          continue;
        }
        std::vector<float> padded(c.columns);
        std::copy_n(&x[((pos - first) * heads + h) * c.head_dim], c.head_dim, padded.begin());
        std::vector<std::byte> stored(hw::RowBytes(c.format, c.columns));
        attention::EncodeRow(c.format, padded.data(), c.columns, stored.data());
        if (q8) {
          for (size_t b = 0; b < c.columns / 32; ++b) {
            EXPECT_EQ(std::memcmp(&stored[b * 34 + 2], &row[b * 32], 32), 0);
            EXPECT_EQ(std::memcmp(&stored[b * 34], &scales[((h * capacity + pos) * c.columns) / 32 + b], 2),
                      0);
          }
          continue;
        }
        if (c.format == hw::Format::kBF16) {  // stored as floats of that precision
          attention::DecodeRow(c.format, stored.data(), c.columns, padded.data());
          stored.resize(c.columns * 4);
          std::memcpy(stored.data(), padded.data(), stored.size());
        }
        EXPECT_TRUE(std::ranges::equal(row, stored));
      }
  }
}

TEST(DeviceLayerKernels, SwiGlu) {
  for (const unsigned count : {4u, 1024u, 1028u}) {
    std::vector<float> gate = test::SeededNormal(1, count, 10), wanted = gate;
    gate[0] = wanted[0] = -200;  // exp overflows
    gate[1] = wanted[1] = 200;
    const std::vector<float> up = test::SeededNormal(2, count);
    const gpu::SwiGluParams p{gate.data(), up.data(), count};
    ExpectOneResult(EmbeddedDeviceCode(), "layer_swiglu", {Groups(count, gpu::kValuesPerBlock)}, &p,
                    Bytes(gate));
    SwiGlu({wanted.data(), 1, count}, {up.data(), 1, count}, kOneThread);
    EXPECT_LE(test::RelativeError(gate, std::span<const float>(wanted)), kTolerance);
  }
}

TEST(DeviceLayerKernels, NarrowTakesTheFirstColumns) {
  const unsigned rows = 70, columns = 64, head_dim = 32;
  const std::vector<float> x = test::Seeded(1, rows * columns);
  std::vector<float> y(rows * head_dim, NAN);
  const gpu::NarrowParams p{x.data(), y.data(), columns, head_dim, rows * head_dim};
  ExpectOneResult(EmbeddedDeviceCode(), "layer_narrow", {Groups(y.size(), gpu::kValuesPerBlock)}, &p,
                  Bytes(y));
  for (size_t r = 0; r < rows; ++r)
    for (size_t i = 0; i < head_dim; ++i) ASSERT_EQ(y[r * head_dim + i], x[r * columns + i]);
}

TEST(DeviceLayerKernels, AddRowsTouchesThoseRowsAlone) {
  for (const unsigned cols : {8u, 1028u}) {
    const std::vector<float> rows = test::Seeded(1, 2 * cols);
    const std::vector<unsigned> at = {3, 1};
    std::vector<float> x = test::Seeded(2, 4 * cols), wanted = x;
    const gpu::AddRowsParams p{rows.data(), at.data(), x.data(), cols};
    ExpectOneResult(EmbeddedDeviceCode(), "layer_add_rows", {Groups(cols, gpu::kValuesPerBlock), 2}, &p,
                    Bytes(x));
    for (size_t i = 0; i < 2; ++i)
      for (size_t c = 0; c < cols; ++c) wanted[at[i] * cols + c] += rows[i * cols + c];
    EXPECT_EQ(x, wanted);
  }
}

}  // namespace
}  // namespace qwen3vl
