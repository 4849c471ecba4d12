// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/quant.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hw/float16.h"
#include "qwen3vl/error.h"
#include "support/golden.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

using hw::Format;

// Rows of `name`.bytes dequantise to `name`.values bit for bit (-0 and infinities included).
void ExpectExact(const test::GoldenFile& golden, Format format, const std::string& bytes_name,
                 const std::string& values_name) {
  const test::GoldenTensor& bytes = golden[bytes_name];
  const std::vector<float> want = golden[values_name].Floats();
  const size_t rows = bytes.shape[0], n = want.size() / rows;
  ASSERT_EQ(bytes.shape[1], hw::RowBytes(format, n));
  std::vector<float> found(n);
  for (size_t r = 0; r < rows; ++r) {
    DequantizeRow(format, reinterpret_cast<const std::byte*>(bytes.bytes.data()) + r * bytes.shape[1], n,
                  found.data());
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(found[i]), std::bit_cast<uint32_t>(want[r * n + i]))
          << bytes_name << " row " << r << " element " << i << ": " << found[i] << ", want "
          << want[r * n + i];
  }
}

TEST(Dequantize, IsBitExactForEveryFormat) {
  const test::GoldenFile golden("gguf/dequant.safetensors");
  for (size_t f = 1; f < hw::kFormatCount; ++f) {
    const auto format = static_cast<Format>(f);
    const std::string name(hw::Name(format));
    ExpectExact(golden, format, name + ".bytes", name + ".values");
    ExpectExact(golden, format, name + ".random_bytes", name + ".random_values");
  }
}

TEST(Dequantize, CopiesFloatsFromAnyAddress) {
  const std::vector<float> x = test::Seeded(3, 9);
  std::vector<std::byte> bytes(37);
  std::memcpy(bytes.data() + 1, x.data(), 36);
  std::vector<float> y(9);
  DequantizeRow(Format::kF32, bytes.data() + 1, 9, y.data());
  EXPECT_EQ(x, y);
}

TEST(Quantize, RoundTripsToHalfAStep) {
  const std::vector<float> x = test::SeededNormal(4, 128, 3.0f);
  struct Case {
    Format format;
    double relative;  // of the value, or of the block's largest for q8_0
  };
  // f16 keeps 11 bits, bf16 8; q8_0 rounds to 1/254 of the largest and its scale to 11 bits.
  for (const Case c : {Case{Format::kF32, 0}, Case{Format::kF16, 0x1p-11}, Case{Format::kBF16, 0x1p-8},
                       Case{Format::kQ8_0, 1.0 / 254 + 0x1p-11}}) {
    std::vector<std::byte> row(hw::RowBytes(c.format, x.size()));
    QuantizeRow(c.format, x.data(), x.size(), row.data());
    std::vector<float> y(x.size());
    DequantizeRow(c.format, row.data(), x.size(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      double size = std::abs(x[i]);
      if (c.format == Format::kQ8_0)
        for (size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k) size = std::max<double>(size, std::abs(x[k]));
      EXPECT_LE(std::abs(y[i] - x[i]), c.relative * size) << hw::Name(c.format) << " " << i;
    }
  }
}

TEST(Quantize, WritesWhatGgmlWrites) {
  const test::GoldenFile golden("gguf/dequant.safetensors");
  const std::vector<float> x = golden["activation"].Floats();
  for (const Format format : {Format::kF16, Format::kBF16, Format::kQ8_0}) {
    const test::GoldenTensor& want = golden[std::string(hw::Name(format)) + ".activation_bytes"];
    std::string row(hw::RowBytes(format, x.size()), '\0');
    QuantizeRow(format, x.data(), x.size(), reinterpret_cast<std::byte*>(row.data()));
    EXPECT_EQ(row, want.bytes) << hw::Name(format);
  }
}

TEST(Quantize, SpreadsNonFiniteValuesOverTheirBlockOnly) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x(64, 1.0f);
    x[5] = bad;
    std::vector<std::byte> row(hw::RowBytes(Format::kQ8_0, 64));
    QuantizeRow(Format::kQ8_0, x.data(), 64, row.data());
    std::vector<float> y(64);
    DequantizeRow(Format::kQ8_0, row.data(), 64, y.data());
    for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(y[i]));
    for (size_t i = 32; i < 64; ++i) EXPECT_NEAR(y[i], 1.0f, 1e-3f);
  }
}

TEST(Quantize, RefusesOtherFormats) {
  std::vector<float> x(256);
  std::vector<std::byte> row(256);
  try {
    QuantizeRow(Format::kQ4_K, x.data(), x.size(), row.data());
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUnsupported);
    EXPECT_STREQ(e.what(), "cannot quantise to q4_K: want f32, f16, bf16 or q8_0");
  }
}

}  // namespace
}  // namespace qwen3vl
