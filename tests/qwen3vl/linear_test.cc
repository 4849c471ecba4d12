// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/linear.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "hw/float16.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/quant.h"
#include "support/golden.h"
#include "support/isa.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

using hw::Format;

// A weight matrix at an odd address, and the values its bytes stand for.
struct Matrix {
  std::vector<std::byte> bytes;  // one byte, then the rows, and nothing after them
  Weight w;
  std::vector<float> values;  // [rows, cols]
};

// Byte offsets of the half-precision fields of a block: random bits there would be mostly absurd scales.
std::vector<size_t> HalfFields(Format format) {
  switch (format) {
    case Format::kQ4_1:
    case Format::kQ5_1:
    case Format::kQ4_K:
    case Format::kQ5_K:
      return {0, 2};
    case Format::kQ2_K:
      return {80, 82};
    case Format::kQ3_K:
      return {108};
    case Format::kQ6_K:
      return {208};
    case Format::kMXFP4:
      return {};
    default:
      return {0};
  }
}

// Random codes with sensible scales: every code value, sub-scale and sign occurs.
Matrix RandomMatrix(Format format, size_t rows, size_t cols, uint64_t seed) {
  Matrix m;
  const size_t row_bytes = hw::RowBytes(format, cols);
  m.bytes.resize(1 + rows * row_bytes);
  std::byte* data = m.bytes.data() + 1;
  if (!hw::IsQuantized(format)) {
    const std::vector<float> x = test::SeededNormal(seed, rows * cols);
    QuantizeRow(format, x.data(), x.size(), data);
  } else {
    for (size_t i = 0; i < rows * row_bytes; ++i) data[i] = std::byte(test::SeededBits(seed, i) >> 56);
    const hw::FormatInfo& info = hw::Info(format);
    for (size_t b = 0; b < rows * cols / info.block_elements; ++b) {
      std::byte* block = data + b * info.block_bytes;
      for (size_t field : HalfFields(format)) {
        const hw::F16 scale = hw::ToF16(test::SeededValue(seed + 1, b * 256 + field, 0.125f));
        std::memcpy(block + field, &scale, 2);
      }
      if (format == Format::kMXFP4) block[0] = std::byte(120 + test::SeededBits(seed + 1, b) % 8);
    }
  }
  m.w = {data, format, rows, cols};
  m.values.resize(rows * cols);
  for (size_t r = 0; r < rows; ++r) DequantizeRow(format, m.w.row(r), cols, &m.values[r * cols]);
  return m;
}

// What a product may be off by, per output.
struct Wanted {
  std::vector<double> y;
  std::vector<double> exact_error;  // float32 summing: size of the terms times a few roundings
  std::vector<double> fast_error;   // and activations rounded to 1/254 of the largest of their 32
  std::vector<double> int16_error;  // and weights and activations in codes of 16 bits
};

// Whether quantised weights meet more than 12 rows in codes of 16 bits: bytes with a sign, where products of
// bytes come as sums of two in 16 bits, which theirs would leave.
bool InWords(Format format) {
  const hw::Isa isa = hw::SelectedIsa();
  return (format == Format::kQ8_0 || format == Format::kIQ4_NL || format == Format::kIQ4_XS) &&
         (isa == hw::Isa::kSse4 || isa == hw::Isa::kAvx2 || isa == hw::Isa::kAvx512);
}

// Half a code of n values in 16 bits (hw/codes16-inl.h), where the largest code stands for `room` times the
// largest value.
double HalfCode(const float* values, size_t n, double room) {
  double largest = 0, squares = 0;
  for (size_t i = 0; i < n; ++i) {
    largest = std::max<double>(largest, std::abs(values[i]));
    squares += double{values[i]} * values[i];
  }
  return 0.5 * std::max(room * largest / 32767, std::sqrt(squares) / 46000);
}

// By how much rounding both sides to codes, with a scale for every 512, may move their product. Codes of
// quantised weights are off by half a code once more, since a block's scale is rounded too, and none stands
// for more than 128 times that scale, which is less than twice the largest weight of 32 random ones.
double Int16Error(const float* w, const float* x, size_t cols, bool quantized) {
  double error = 0;
  for (size_t k = 0; k < cols; k += 512) {
    const size_t n = std::min<size_t>(512, cols - k);
    const double of_w = HalfCode(w + k, n, quantized ? 2 : 1) * (quantized ? 2 : 1);
    const double of_x = HalfCode(x + k, n, 1);
    for (size_t i = k; i < k + n; ++i) error += std::abs(w[i]) * of_x + std::abs(x[i]) * of_w + of_w * of_x;
  }
  return error;
}

Wanted Multiply(const Matrix& m, const std::vector<float>& x, size_t n) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const size_t rows = m.w.rows, cols = m.w.cols;
  const Eigen::MatrixXd product =
      Eigen::Map<const RowMajor>(x.data(), n, cols).cast<double>() *
      Eigen::Map<const RowMajor>(m.values.data(), rows, cols).cast<double>().transpose();
  Wanted out;
  for (std::vector<double>* one : {&out.y, &out.exact_error, &out.fast_error, &out.int16_error})
    one->resize(n * rows);
  for (size_t i = 0; i < n; ++i)
    for (size_t r = 0; r < rows; ++r) {
      double size = 0, rounding = 0;
      for (size_t k = 0; k < cols; ++k) {
        size += std::abs(double{m.values[r * cols + k]} * x[i * cols + k]);
        if (k % 32 == 0 && hw::IsQuantized(m.w.format)) {
          double largest = 0, weights = 0, code_size = 0;
          for (size_t j = k; j < k + 32; ++j) {
            largest = std::max<double>(largest, std::abs(x[i * cols + j]));
            weights += std::abs(m.values[r * cols + j]);
            code_size = std::max<double>(code_size, std::abs(m.values[r * cols + j]));
          }
          rounding += largest / 254 * weights;
          // value = scale * code - min: the two parts may each be as large as twice the largest value seen,
          // or, where the block is nearly constant, much larger than the values; 64 units of its largest
          // cover it.
          size += 64 * code_size * largest;
        }
      }
      out.y[i * rows + r] = product(i, r);
      // Sums of up to 1024 terms in 4 .. 64 partial sums.
      out.exact_error[i * rows + r] = 16 * size * 0x1p-24 + 1e-30;
      out.fast_error[i * rows + r] = out.exact_error[i * rows + r] + rounding * 1.0001;
      out.int16_error[i * rows + r] =
          out.exact_error[i * rows + r] +
          1.0001 * Int16Error(&m.values[r * cols], &x[i * cols], cols, hw::IsQuantized(m.w.format));
    }
  return out;
}

// Of a product of n activation rows as Precision::kFast has it.
const std::vector<double>& FastError(const Wanted& want, Format format, size_t n) {
  if (!hw::IsQuantized(format)) return want.exact_error;
  return n > 12 && InWords(format) ? want.int16_error : want.fast_error;
}

testing::AssertionResult Within(const std::vector<float>& found, const std::vector<double>& wanted,
                                const std::vector<double>& error) {
  for (size_t i = 0; i < found.size(); ++i)
    if (!(std::abs(found[i] - wanted[i]) <= error[i]))
      return testing::AssertionFailure()
             << "output " << i << ": " << found[i] << ", want " << wanted[i] << " +- " << error[i];
  return testing::AssertionSuccess();
}

std::vector<float> RunLinear(const Matrix& m, const std::vector<float>& x, size_t n,
                             const LinearOptions& options, size_t threads, float fill = 0.0f) {
  std::vector<float> y(n * m.w.rows, fill);
  Linear(m.w, hw::MatrixView<const float>(x.data(), n, m.w.cols),
         hw::MatrixView<float>(y.data(), n, m.w.rows), options, {threads});
  return y;
}

class LinearTest : public test::EachIsaTest {};
INSTANTIATE_TEST_SUITE_P(Isa, LinearTest, testing::ValuesIn(hw::AvailableIsas()), test::IsaName);

// Columns that the format allows: a multiple of its block, whole and broken steps of 256 and of the chunks.
std::vector<size_t> ColsFor(Format format) {
  const size_t block = hw::Info(format).block_elements;
  if (block == 1) return {1, 7, 64, 515};
  if (block == 32) return {32, 96, 256, 1312};
  return {256, 768, 1280};
}

TEST_P(LinearTest, EveryFormatAndShapeWithinItsErrorBound) {
  for (size_t f = 0; f < hw::kFormatCount; ++f)
    for (size_t cols : ColsFor(static_cast<Format>(f)))
      for (size_t rows : {1u, 5u, 33u, 67u}) {
        const Matrix m = RandomMatrix(static_cast<Format>(f), rows, cols, 100 * f + cols + rows);
        for (size_t n : {1u, 2u, 3u, 4u, 5u, 12u, 13u, 33u}) {
          SCOPED_TRACE(std::string(hw::Name(m.w.format)) + " rows " + std::to_string(rows) + " cols " +
                       std::to_string(cols) + " n " + std::to_string(n));
          const std::vector<float> x = test::SeededNormal(n, n * cols);
          const Wanted want = Multiply(m, x, n);
          const bool fast_is_float = !hw::IsQuantized(m.w.format);
          ASSERT_TRUE(
              Within(RunLinear(m, x, n, {.precision = Precision::kExact}, 1), want.y, want.exact_error));
          const std::vector<double>& fast_error = FastError(want, m.w.format, n);
          ASSERT_TRUE(Within(RunLinear(m, x, n, {}, 1), want.y, fast_error));
          // Few rows, and quantised weights, are multiplied as ever.
          const std::vector<float> int16 = RunLinear(m, x, n, {.precision = Precision::kInt16}, 1);
          ASSERT_TRUE(Within(int16, want.y, fast_is_float && n > 12 ? want.int16_error : fast_error));
          ASSERT_EQ(RunLinear(m, x, n, {.precision = Precision::kAuto}, 1),
                    m.w.format == Format::kF32 ? RunLinear(m, x, n, {}, 1) : int16);
        }
      }
}

// The copy of a matrix that products in 8 bits stream, at an odd address; nothing after it.
struct Interleaved {
  std::vector<std::byte> bytes;
  explicit Interleaved(Matrix& m) : bytes(1 + m.w.bytes()) {
    InterleaveRows(m.w, bytes.data() + 1, {2});
    m.w.interleaved = bytes.data() + 1;
  }
};

constexpr Format kInterleavedFormats[] = {Format::kQ4_0, Format::kQ4_K, Format::kQ5_K, Format::kQ6_K};

TEST_P(LinearTest, InterleavedRowsWithinTheSameErrorBound) {
  for (Format format : kInterleavedFormats)
    for (size_t cols : {256u, 768u, 1280u})
      for (size_t rows : {8u, 24u, 72u, 136u}) {
        Matrix m = RandomMatrix(format, rows, cols, 7 * cols + rows);
        ASSERT_TRUE(CanInterleave(m.w));
        const Interleaved copy(m);
        for (size_t n : {1u, 2u, 4u, 6u, 7u, 33u}) {
          SCOPED_TRACE(std::string(hw::Name(format)) + " rows " + std::to_string(rows) + " cols " +
                       std::to_string(cols) + " n " + std::to_string(n));
          const std::vector<float> x = test::SeededNormal(n, n * cols);
          const Wanted want = Multiply(m, x, n);
          ASSERT_TRUE(Within(RunLinear(m, x, n, {}, 1), want.y, want.fast_error));
          ASSERT_TRUE(
              Within(RunLinear(m, x, n, {.precision = Precision::kExact}, 3), want.y, want.exact_error));
        }
      }
}

// What answers with guessed tokens rest on (Precision as sessions have it).
TEST_P(LinearTest, UpToFourRowsGetTheBitsThatEachGetsAlone) {
  constexpr size_t kRows = 136, kCols = 768;
  for (size_t f = 0; f < hw::kFormatCount; ++f)
    for (const bool interleaved : {false, true})
      for (const Precision precision : {Precision::kAuto, Precision::kInt16, Precision::kExact}) {
        Matrix m = RandomMatrix(static_cast<Format>(f), kRows, kCols, 31 + f);
        if (interleaved && !CanInterleave(m.w)) continue;
        std::optional<Interleaved> copy;
        if (interleaved) copy.emplace(m);
        const LinearOptions options{.precision = precision};
        const std::vector<float> x = test::SeededNormal(32, 4 * kCols);
        std::vector<float> alone;
        for (size_t i = 0; i < 4; ++i) {
          const std::vector<float> row(&x[i * kCols], &x[i * kCols] + kCols);
          const std::vector<float> y = RunLinear(m, row, 1, options, 1);
          alone.insert(alone.end(), y.begin(), y.end());
        }
        for (size_t n = 2; n <= 4; ++n) {
          SCOPED_TRACE(std::string(hw::Name(static_cast<Format>(f))) + " n " + std::to_string(n));
          const std::vector<float> first(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n * kCols));
          const std::vector<float> wanted(alone.begin(),
                                          alone.begin() + static_cast<std::ptrdiff_t>(n * kRows));
          EXPECT_EQ(RunLinear(m, first, n, options, 2), wanted);
        }
      }
}

// Whichever of the two forms is not read may hold anything.
TEST_P(LinearTest, OneFormOfTheRowsIsRead) {
  for (Format format : kInterleavedFormats)
    for (size_t n : {1u, 3u, 50u}) {
      SCOPED_TRACE(std::string(hw::Name(format)) + " n " + std::to_string(n));
      Matrix m = RandomMatrix(format, 136, 512, 5);
      Interleaved copy(m);
      const std::vector<float> x = test::SeededNormal(6, n * 512);
      const std::vector<float> one = RunLinear(m, x, n, {}, 1);
      const bool reads_copy = HasInterleavedProducts();
      std::ranges::fill(reads_copy ? m.bytes : copy.bytes, std::byte{0});
      for (size_t threads : {1u, 2u, 3u, 40u}) EXPECT_EQ(RunLinear(m, x, n, {}, threads), one);
      std::ranges::fill(reads_copy ? copy.bytes : m.bytes, std::byte{0});
      EXPECT_NE(RunLinear(m, x, n, {}, 1), one);
    }
}

// Both round activations alike, so that what is left between them is the order of sums; but for those that
// are coded in 16 bits.
TEST_P(LinearTest, ManyRowsGiveWhatEachGivesAlone) {
  constexpr size_t kRows = 67, kCols = 768, kTokens = 13;
  const std::vector<float> x = test::SeededNormal(18, kTokens * kCols);
  for (size_t f = 0; f < hw::kFormatCount; ++f) {
    SCOPED_TRACE(hw::Name(static_cast<Format>(f)));
    if (InWords(static_cast<Format>(f))) continue;
    const Matrix m = RandomMatrix(static_cast<Format>(f), kRows, kCols, 19 + f);
    Wanted alone = Multiply(m, x, kTokens);
    for (size_t i = 0; i < kTokens; ++i) {
      const std::vector<float> row(&x[i * kCols], &x[i * kCols] + kCols);
      std::ranges::copy(RunLinear(m, row, 1, {}, 1), &alone.y[i * kRows]);
    }
    for (double& error : alone.exact_error) error *= 2;
    EXPECT_TRUE(Within(RunLinear(m, x, kTokens, {}, 1), alone.y, alone.exact_error));
  }
}

TEST_P(LinearTest, ThreadCountsLeaveNoTrace) {
  for (Format format : {Format::kF16, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K})
    for (Precision precision : {Precision::kFast, Precision::kInt16, Precision::kExact})
      for (size_t n : {1u, 3u, 50u}) {
        const Matrix m = RandomMatrix(format, 131, 512, 5);
        const std::vector<float> x = test::SeededNormal(6, n * 512);
        const std::vector<float> one = RunLinear(m, x, n, {.precision = precision}, 1);
        for (size_t threads : {2u, 3u, 200u})
          EXPECT_EQ(RunLinear(m, x, n, {.precision = precision}, threads), one)
              << hw::Name(format) << " n " << n << " threads " << threads;
      }
}

// One thread has more weight rows for a task than a panel takes, the last panel of the last task is not full,
// and activations are more than meet the panels at a time.
TEST_P(LinearTest, TasksOfSeveralPanels) {
  constexpr size_t kRows = 523, kCols = 1280, kTokens = 41;
  const std::vector<float> x = test::SeededNormal(16, kTokens * kCols);
  for (Format format : {Format::kF16, Format::kQ8_0, Format::kQ4_K, Format::kQ6_K}) {
    SCOPED_TRACE(hw::Name(format));
    const Matrix m = RandomMatrix(format, kRows, kCols, 17);
    const Wanted want = Multiply(m, x, kTokens);
    const std::vector<float> fast = RunLinear(m, x, kTokens, {}, 1);
    EXPECT_TRUE(Within(fast, want.y, FastError(want, format, kTokens)));
    EXPECT_TRUE(
        Within(RunLinear(m, x, kTokens, {.precision = Precision::kExact}, 1), want.y, want.exact_error));
    EXPECT_EQ(RunLinear(m, x, kTokens, {}, 3), fast);
    if (hw::IsQuantized(format)) continue;
    const std::vector<float> int16 = RunLinear(m, x, kTokens, {.precision = Precision::kInt16}, 1);
    EXPECT_TRUE(Within(int16, want.y, want.int16_error));
    EXPECT_FALSE(Within(int16, want.y, want.exact_error));
  }
}

// Once, however many chunks of columns the product is summed up in.
TEST_P(LinearTest, AddsBiasAndAccumulates) {
  for (Format format : {Format::kF32, Format::kBF16, Format::kQ8_0, Format::kQ4_K})
    for (Precision precision : {Precision::kFast, Precision::kInt16, Precision::kExact})
      for (size_t cols : {256u, 1280u})
        for (size_t n : {1u, 9u, 20u}) {
          const Matrix m = RandomMatrix(format, 37, cols, 8);
          const std::vector<float> x = test::SeededNormal(9, n * cols), bias = test::SeededNormal(10, 37);
          const std::vector<float> plain = RunLinear(m, x, n, {.precision = precision}, 2, 5.0f);
          const std::vector<float> both =
              RunLinear(m, x, n, {.bias = bias.data(), .accumulate = true, .precision = precision}, 2, 5.0f);
          // Three roundings of sums about as large as these, and two more for every further chunk of 256.
          const double roundings = 3.0 + 2.0 * (cols / 256 - 1.0);
          for (size_t i = 0; i < plain.size(); ++i) {
            const float want = plain[i] + 5.0f + bias[i % 37];
            EXPECT_NEAR(both[i], want, roundings / 3 * 4e-7 * (std::abs(plain[i]) + std::abs(want) + 16))
                << hw::Name(format);
          }
        }
}

TEST_P(LinearTest, WritesOnlyItsRowsOfStridedOutput) {
  for (Format format : {Format::kF16, Format::kQ4_0})
    for (size_t n : {1u, 7u, 14u}) {
      const LinearOptions options{.precision = n == 14 ? Precision::kInt16 : Precision::kFast};
      const Matrix m = RandomMatrix(format, 21, 64, 11);
      constexpr size_t kStrideX = 70, kStrideY = 30;
      const std::vector<float> x = test::SeededNormal(12, n * kStrideX);
      std::vector<float> y(n * kStrideY, 7.0f), packed(n * 64);
      for (size_t i = 0; i < n; ++i) std::copy_n(&x[i * kStrideX], 64, &packed[i * 64]);
      Linear(m.w, {x.data(), n, 64, kStrideX}, {y.data(), n, 21, kStrideY}, options, {2});
      const std::vector<float> want = RunLinear(m, packed, n, options, 1);
      for (size_t i = 0; i < n; ++i)
        for (size_t r = 0; r < kStrideY; ++r)
          EXPECT_EQ(y[i * kStrideY + r], r < 21 ? want[i * 21 + r] : 7.0f);
    }
}

TEST_P(LinearTest, GroupsEqualSingleProducts) {
  const std::vector<Format> formats{Format::kQ4_K, Format::kQ6_K, Format::kQ8_0,
                                    Format::kF16,  Format::kQ4_K, Format::kF16};
  for (size_t n : {1u, 40u}) {
    const std::vector<float> x = test::SeededNormal(13, n * 256);
    std::vector<Matrix> matrices;
    std::vector<std::vector<float>> y;
    for (size_t i = 0; i < formats.size(); ++i) {
      matrices.push_back(RandomMatrix(formats[i], 19 + 30 * i, 256, i));
      y.emplace_back(n * matrices[i].w.rows);
    }
    std::vector<LinearPart> parts;
    for (size_t i = 0; i < formats.size(); ++i)
      parts.push_back({&matrices[i].w,
                       {x.data(), n, 256},
                       {y[i].data(), n, matrices[i].w.rows},
                       {.precision = i == 4   ? Precision::kExact
                                     : i == 5 ? Precision::kInt16
                                              : Precision::kFast}});
    LinearGroup(parts, {2});
    for (size_t i = 0; i < formats.size(); ++i)
      EXPECT_EQ(y[i], RunLinear(matrices[i], x, n, parts[i].options, 1)) << i;
  }
}

// As experts have them: each of its own rows, none, one, a few or so many that they take several passes.
TEST_P(LinearTest, GroupsOfDifferentRowsEqualSingleProducts) {
  const std::vector<size_t> rows = {3, 700, 1, 0, 30, 30};
  std::vector<Matrix> matrices;
  std::vector<std::vector<float>> x, y;
  std::vector<LinearPart> parts;
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t cols = i % 2 ? 512 : 256;
    matrices.push_back(RandomMatrix(i < 3 ? Format::kQ4_K : Format::kQ8_0, 33, cols, i));
    x.push_back(test::SeededNormal(20 + i, rows[i] * cols));
    y.emplace_back(rows[i] * 33, NAN);
  }
  for (size_t i = 0; i < rows.size(); ++i)
    parts.push_back(
        {&matrices[i].w, {x[i].data(), rows[i], matrices[i].w.cols}, {y[i].data(), rows[i], 33}, {}});
  for (const size_t threads : {1, 3}) {
    LinearGroup(parts, {threads});
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(y[i], RunLinear(matrices[i], x[i], rows[i], parts[i].options, 1)) << i;
  }
}

// Equal values, whose sums are as large as their norms allow, also where their squares leave the range of
// floats; and what is not a number reaches the outputs of its row alone.
TEST_P(LinearTest, Int16SumsDoNotOverflowAndNothingIsHidden) {
  constexpr size_t kRows = 33, kCols = 700, kTokens = 13;
  const LinearOptions int16{.precision = Precision::kInt16};
  for (const float value : {1e-22f, 1.0f, 3e21f}) {
    std::vector<float> w(kRows * kCols, value), x(kTokens * kCols, -1 / value);
    Matrix m;
    m.bytes.resize(w.size() * sizeof(float));
    std::memcpy(m.bytes.data(), w.data(), m.bytes.size());
    m.w = {m.bytes.data(), Format::kF32, kRows, kCols};
    // Half a code of sqrt(512) equal values' root mean square, on both sides.
    for (const float y : RunLinear(m, x, kTokens, int16, 1)) ASSERT_NEAR(y, -700.0, 700 * 2 * 11.4 / 46000);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      x[5 * kCols + 300] = bad;
      const std::vector<float> y = RunLinear(m, x, kTokens, int16, 1);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i / kRows == 5) << i;
    }
  }
}

// Two inputs of every row are a hundred times as large as the others, and their weights as much smaller, so
// that the output hides nothing: a scale for 512 columns still costs less than inputs in bf16, the type that
// the models are published in.
TEST_P(LinearTest, Int16OutliersCostLessThanBf16Does) {
  constexpr size_t kRows = 64, kCols = 1024, kTokens = 16;
  std::vector<float> x = test::SeededNormal(21, kTokens * kCols);
  Matrix m;
  m.values = test::SeededNormal(22, kRows * kCols);
  for (const size_t outlier : {5u, 700u}) {
    for (size_t i = 0; i < kTokens; ++i) x[i * kCols + outlier] *= 100;
    for (size_t r = 0; r < kRows; ++r) m.values[r * kCols + outlier] /= 100;
  }
  m.w = {reinterpret_cast<const std::byte*>(m.values.data()), Format::kF32, kRows, kCols};
  const std::vector<double> want = Multiply(m, x, kTokens).y;
  const std::vector<float> int16 = RunLinear(m, x, kTokens, {.precision = Precision::kInt16}, 1);
  for (float& v : x) v = hw::ToFloat(hw::ToBF16(v));
  const std::vector<float> bf16 = RunLinear(m, x, kTokens, {.precision = Precision::kExact}, 1);
  EXPECT_LT(test::RelativeError(int16, want), test::RelativeError(bf16, want));
}

TEST_P(LinearTest, LongInputsGoInSeveralPasses) {
  const Matrix m = RandomMatrix(Format::kQ4_0, 17, 32, 14);
  const size_t n = 1300;
  const std::vector<float> x = test::SeededNormal(15, n * 32);
  const Wanted want = Multiply(m, x, n);
  EXPECT_TRUE(Within(RunLinear(m, x, n, {}, 2), want.y, want.fast_error));
  EXPECT_TRUE(Within(RunLinear(m, x, n, {.precision = Precision::kExact}, 2), want.y, want.exact_error));
}

// Extreme codes in every place, with the largest activations: any int16 overflow would show.
TEST_P(LinearTest, DoesNotOverflowAtTheLargestCodes) {
  for (size_t f = 3; f < hw::kFormatCount; ++f)
    for (uint8_t byte : {0x00, 0x7f, 0x80, 0xff}) {
      const auto format = static_cast<Format>(f);
      Matrix m = RandomMatrix(format, 33, 256, 16);
      const hw::FormatInfo& info = hw::Info(format);
      std::byte* data = m.bytes.data() + 1;
      for (size_t i = 0; i < m.w.bytes(); ++i) data[i] = std::byte(byte);
      for (size_t b = 0; b < m.w.rows * 256 / info.block_elements; ++b) {
        for (size_t field : HalfFields(format)) {
          const hw::F16 scale = hw::ToF16(0.5f);
          std::memcpy(data + b * info.block_bytes + field, &scale, 2);
        }
        if (format == Format::kMXFP4) data[b * info.block_bytes] = std::byte(127);
      }
      for (size_t r = 0; r < m.w.rows; ++r) DequantizeRow(format, m.w.row(r), 256, &m.values[r * 256]);
      for (size_t n : {1u, 6u, 13u}) {
        const std::vector<float> x(n * 256, -1.0f);
        const Wanted want = Multiply(m, x, n);
        EXPECT_TRUE(Within(RunLinear(m, x, n, {}, 1), want.y, FastError(want, format, n)))
            << hw::Name(format) << " " << int{byte};
      }
    }
}

TEST_P(LinearTest, NonFiniteActivationsReachTheirRowOnly) {
  for (Format format : {Format::kQ8_0, Format::kQ4_K, Format::kF16})
    for (size_t n : {2u, 8u, 14u}) {
      const Matrix m = RandomMatrix(format, 20, 256, 17);
      for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> x = test::SeededNormal(18, n * 256);
        x[256 + 77] = bad;
        const std::vector<float> y = RunLinear(m, x, n, {}, 1);
        for (size_t i = 0; i < y.size(); ++i)
          EXPECT_EQ(std::isfinite(y[i]), i / 20 != 1) << hw::Name(format) << " n " << n << " " << i;
      }
    }
}

TEST_P(LinearTest, NonFiniteScalesReachTheirOutputOnly) {
  for (Format format : {Format::kQ8_0, Format::kIQ4_NL, Format::kQ4_0, Format::kQ4_K})
    for (size_t n : {1u, 8u, 14u})
      for (uint16_t bad : {0x7c00u, 0x7e00u}) {  // infinity, NaN
        Matrix m = RandomMatrix(format, 20, 768, 21);
        std::byte* last_block = m.bytes.data() + 1 + 8 * m.w.row_bytes() - hw::Info(format).block_bytes;
        std::memcpy(last_block, &bad, sizeof bad);
        const std::vector<float> y = RunLinear(m, test::SeededNormal(22, n * 768), n, {}, 1);
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(std::isfinite(y[i]), i % 20 != 7) << hw::Name(format) << " n " << n << " " << i;
      }
}

TEST_P(LinearTest, ZeroAndTinyActivationsGiveZero) {
  const Matrix m = RandomMatrix(Format::kQ4_K, 5, 256, 19);
  for (float tiny : {0.0f, 1e-42f, -1e-40f}) {
    const std::vector<float> y = RunLinear(m, std::vector<float>(256, tiny), 1, {}, 1);
    for (float v : y) EXPECT_NEAR(v, 0.0f, 1e-35f);
  }
}

// ggml's own rows: the float path meets the exact product, the 8-bit path comes as near as ggml's does.
TEST_P(LinearTest, RecordedRowsComeAsNearAsGgml) {
  const test::GoldenFile golden("gguf/dequant.safetensors");
  const std::vector<float> x = golden["activation"].Floats();
  double x_norm = 0;
  for (float v : x) x_norm += static_cast<double>(v) * v;
  for (size_t f = 1; f < hw::kFormatCount; ++f) {
    const std::string name(hw::Name(static_cast<Format>(f)));
    const std::vector<double> exact = golden[name + ".dot_exact"].Doubles();
    const std::vector<float> values = golden[name + ".values"].Floats();
    const Weight w{reinterpret_cast<const std::byte*>(golden[name + ".bytes"].bytes.data()),
                   static_cast<Format>(f), exact.size(), x.size()};
    std::vector<float> y(exact.size());
    const hw::MatrixView<float> out(y.data(), 1, y.size());
    for (Precision precision : {Precision::kExact, Precision::kFast}) {
      Linear(w, {x.data(), 1, x.size()}, out, {.precision = precision}, {1});
      for (size_t r = 0; r < y.size(); ++r) {
        double w_norm = 0;
        for (size_t k = 0; k < x.size(); ++k) w_norm += std::pow(values[r * x.size() + k], 2);
        // Rounding errors are independent: 8 bits of blocks that reach 3 sigma leave 1 % of one product's
        // size, |w| |x| / sqrt(n), in a sum of n of them; four times that is allowed.
        const double size = std::sqrt(w_norm * x_norm / x.size());
        const bool exactly = precision == Precision::kExact || !hw::IsQuantized(w.format);
        EXPECT_NEAR(y[r], exact[r], exactly ? 1e-5 * size : 0.04 * size) << name << " row " << r;
      }
    }
  }
}

}  // namespace
}  // namespace qwen3vl
