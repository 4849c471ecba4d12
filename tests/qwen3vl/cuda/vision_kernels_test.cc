// SPDX-License-Identifier: Apache-2.0
// What a block of the vision tower does besides products and attention: against the CPU's own functions or
// float64, source and PTX bit-equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cuda/kernel_runs.h"
#include "qwen3vl/cuda/device_address.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/vision_params.h"
#include "qwen3vl/layers.h"
#include "rope/rope.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

constexpr hw::Threads kOneThread{1};
// fp32 in another order, where the CPU sums in double.
constexpr double kTolerance = 1e-6;

void ExpectOneResult(const char* kernel, gpu::Grid grid, const void* parameters, std::vector<float>& output) {
  test::ExpectOneResult(EmbeddedDeviceCode(), kernel, grid, parameters,
                        std::as_writable_bytes(std::span(output)));
}

TEST(DeviceVisionKernels, LayerNorm) {
  struct Case {
    unsigned cols;
    float mean, spread;
  };
  // Widths below, at and above a turn of the block; a spread that is small beside the mean.
  for (const Case& c : {Case{8, 0, 3}, {256, -2, 1}, {260, 0, 30}, {1152, 300, 0.5f}, {4608, 5, 5}}) {
    SCOPED_TRACE(c.cols);
    std::vector<float> x = test::SeededNormal(1, 3 * c.cols, c.spread);
    for (float& v : x) v += c.mean;
    const std::vector<float> w = test::SeededNormal(2, c.cols), b = test::SeededNormal(3, c.cols);
    std::vector<float> y(x.size(), NAN), wanted(x.size());
    const gpu::LayerNormParams p{x.data(), w.data(), b.data(), y.data(), c.cols, 1e-6f};
    ExpectOneResult("vision_layer_norm", {3}, &p, y);
    LayerNorm({x.data(), 3, c.cols}, w.data(), b.data(), 1e-6f, {wanted.data(), 3, c.cols}, kOneThread);
    EXPECT_LE(test::RelativeError(y, std::span<const float>(wanted)), kTolerance);
  }
}

TEST(DeviceVisionKernels, ARowOfEqualValuesIsTheBias) {
  const unsigned cols = 300;
  const std::vector<float> x(cols, 1234.5678f), w(cols, 2.0f), b = test::Seeded(3, cols);
  std::vector<float> y(cols, NAN);
  const gpu::LayerNormParams p{x.data(), w.data(), b.data(), y.data(), cols, 1e-6f};
  ExpectOneResult("vision_layer_norm", {1}, &p, y);
  EXPECT_TRUE(test::AllNear(
      y, b, 1e-3));  // the last digit of the mean, 1e-4, over the root of eps: 0.1 without its rest
}

TEST(DeviceVisionKernels, SplitTurnsQueriesAndKeysAndKeepsValues) {
  struct Case {
    unsigned heads, head_dim, columns;
  };
  for (const Case& c : {Case{5, 72, 72}, {4, 64, 64}, {1, 32, 64}, {6, 128, 128}}) {
    SCOPED_TRACE(c.head_dim);
    const unsigned tokens = 3, capacity = 5, first = 1, width = c.heads * c.head_dim;
    const std::vector<float> qkv = test::SeededNormal(1, tokens * 3 * width, 4);
    const std::vector<rope::Position> at = {{0, 0, 0}, {0, 3, 5}, {0, 40, 21}};
    const rope::RopeTable rope = rope::RopeTable::Vision(at, c.head_dim);
    std::vector<float> q(tokens * c.heads * c.columns, NAN), k(c.heads * capacity * c.columns, 7.0f), v = k;
    const gpu::SplitParams p{.qkv = qkv.data(),
                             .cos = rope.cos(0),
                             .sin = rope.sin(0),
                             .q = q.data(),
                             .k = k.data(),
                             .v = v.data(),
                             .heads = c.heads,
                             .head_dim = c.head_dim,
                             .columns = c.columns,
                             .capacity = capacity,
                             .first = first};
    const gpu::Grid grid{Groups(c.heads, gpu::kHeadThreads / 32), tokens};
    for (std::vector<float>* out : {&q, &k, &v}) ExpectOneResult("vision_split", grid, &p, *out);

    std::vector<float> turned = qkv;
    const hw::MatrixView<float> rows(turned.data(), tokens, 3 * width);
    rope::Rotate(rope, rows.Cols(0, width), c.heads, kOneThread);
    rope::Rotate(rope, rows.Cols(width, width), c.heads, kOneThread);
    std::vector<float> wanted_q, wanted_k(k.size(), 7.0f), wanted_v = wanted_k;
    for (size_t t = 0; t < tokens; ++t)
      for (size_t h = 0; h < c.heads; ++h) {
        const float* from = rows.row(t) + h * c.head_dim;
        const size_t kept = (h * capacity + first + t) * c.columns;
        for (size_t i = 0; i < c.columns; ++i) {
          const bool exists = i < c.head_dim;
          wanted_q.push_back(exists ? from[i] : 0);
          wanted_k[kept + i] = exists ? from[width + i] : 0;
          wanted_v[kept + i] = exists ? from[2 * width + i] : 0;
        }
      }
    EXPECT_LE(test::RelativeError(q, std::span<const float>(wanted_q)), kTolerance);
    EXPECT_LE(test::RelativeError(k, std::span<const float>(wanted_k)), kTolerance);
    EXPECT_EQ(v, wanted_v);
  }
}

double TanhGelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double ErfGelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2)); }

struct GeluCase {
  const char* kernel;
  double (*reference)(double);
};

void PrintTo(const GeluCase& c, std::ostream* os) { *os << c.kernel; }

class DeviceGeluTest : public testing::TestWithParam<GeluCase> {};

TEST_P(DeviceGeluTest, IsThatOfFloat64) {
  for (const unsigned count : {4u, 1024u, 2052u}) {
    std::vector<float> x(count);
    for (unsigned i = 0; i < count; ++i) x[i] = -12 + 24 * static_cast<float>(i) / static_cast<float>(count);
    x[1] = 0;
    x[2] = -300;  // exp overflows
    x[3] = 300;
    const std::vector<float> before = x;
    const gpu::GeluParams p{x.data(), count};
    ExpectOneResult(GetParam().kernel, {Groups(count, gpu::kValuesPerBlock)}, &p, x);
    for (unsigned i = 0; i < count; ++i) {
      const double wanted = GetParam().reference(before[i]);
      // Rounding of the value itself; for small results that of the argument of exp, a unit in the last place
      // of 3.
      ASSERT_NEAR(x[i], wanted, 1e-6 * std::max(1.0, std::abs(wanted))) << before[i];
    }
  }
}

TEST_P(DeviceGeluTest, KeepsWhatIsNotANumber) {
  std::vector<float> x = {NAN, 1, 2, 3};
  const gpu::GeluParams p{x.data(), 4};
  test::RunSource(GetParam().kernel, {1}, &p);
  EXPECT_TRUE(std::isnan(x[0]));
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceGeluTest,
                         testing::Values(GeluCase{"vision_gelu_tanh", &TanhGelu},
                                         GeluCase{"vision_gelu_erf", &ErfGelu}),
                         [](const auto& param_info) { return std::string(param_info.param.kernel); });

}  // namespace
}  // namespace qwen3vl
