// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "support/golden.h"
#include "support/isa.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

using View = hw::MatrixView<float>;
using ConstView = hw::MatrixView<const float>;

class LayersTest : public test::EachIsaTest {};
INSTANTIATE_TEST_SUITE_P(Isa, LayersTest, testing::ValuesIn(hw::AvailableIsas()), test::IsaName);

struct NormCase {
  size_t width;
  float eps;
  std::vector<float> x, w, b;
  size_t rows() const { return x.size() / width; }
};

NormCase ReadNorm(const nlohmann::json& json, const test::GoldenFile& golden) {
  const std::string name = "norm" + std::to_string(json["width"].get<size_t>());
  return {json["width"], json["eps"], golden[name + ".x"].Floats(), golden[name + ".weight"].Floats(),
          golden[name + ".bias"].Floats()};
}

// Rows of the recording: plain, large, small, mean 50, spread 1e-4 around 3, one non-zero value. The allowed
// error of each is what the reference's own float32 run has against float64, and a rounding of the result.
void ExpectRowsNear(const std::vector<float>& found, const std::vector<double>& want,
                    const nlohmann::json& errors) {
  const size_t rows = errors.size(), width = found.size() / rows;
  for (size_t r = 0; r < rows; ++r)
    for (size_t i = r * width; i < (r + 1) * width; ++i)
      ASSERT_NEAR(found[i], want[i], errors[r].get<double>() + std::abs(want[i]) * 2.4e-7)
          << "row " << r << " column " << i % width;
}

TEST_P(LayersTest, NormsComeAsNearToFloat64AsTheReference) {
  const test::GoldenFile golden("modules/ops.safetensors");
  const nlohmann::json cases = test::ReadJson("modules/ops.json")["norms"];
  for (const auto& json : cases) {
    const NormCase c = ReadNorm(json, golden);
    SCOPED_TRACE(c.width);
    const std::string name = "norm" + std::to_string(c.width);
    const ConstView x(c.x.data(), c.rows(), c.width);
    std::vector<float> y(c.x.size());
    RmsNorm(x, c.w.data(), c.eps, View(y.data(), c.rows(), c.width), {2});
    ExpectRowsNear(y, golden[name + ".rms_f64"].Doubles(), json["f32_vs_f64_max_abs_by_row"]["rms"]);
    LayerNorm(x, c.w.data(), c.b.data(), c.eps, View(y.data(), c.rows(), c.width), {2});
    ExpectRowsNear(y, golden[name + ".layer_f64"].Doubles(), json["f32_vs_f64_max_abs_by_row"]["layer"]);
  }
}

// Rounding of the result, and of the argument in the exponential (4e-7 of the value where that is large).
void ExpectActivation(const test::GoldenFile& golden, const std::string& name,
                      const std::vector<float>& found) {
  const std::vector<double> want = golden[name].Doubles();
  ASSERT_EQ(found.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(found[i], want[i], 1e-7 + 2e-7 * std::abs(want[i]))
        << name << " of " << golden["act.x"].Floats()[i];
}

TEST_P(LayersTest, ActivationsEqualFloat64) {
  const test::GoldenFile golden("modules/ops.safetensors");
  const std::vector<float> x = golden["act.x"].Floats();
  std::vector<float> y = x;
  GeluErf(View(y.data(), 1, y.size()), {1});
  ExpectActivation(golden, "act.gelu_erf_f64", y);
  y = x;
  GeluTanh(View(y.data(), 1, y.size()), {1});
  ExpectActivation(golden, "act.gelu_tanh_f64", y);
  y = x;
  const std::vector<float> ones(x.size(), 1.0f);
  SwiGlu(View(y.data(), 1, y.size()), ConstView(ones.data(), 1, ones.size()), {1});
  ExpectActivation(golden, "act.silu_f64", y);
}

// A dense sweep of [-20, 20] against the C library in float64: 1e-7 near zero, two roundings elsewhere.
TEST_P(LayersTest, ActivationsHoldTheirErrorBoundEverywhere) {
  std::vector<float> x;
  for (int i = -200000; i <= 200000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  const auto check = [&](const char* name, const std::vector<float>& y,
                         const std::function<double(double)>& exact) {
    double worst = 0;
    float at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = exact(x[i]);
      const double error = std::abs(y[i] - want) / (1e-7 + 2.4e-7 * std::abs(want));
      if (!(error <= worst)) worst = error, at = x[i];
    }
    EXPECT_LE(worst, 1.0) << name << " at " << at;
  };
  std::vector<float> y = x;
  GeluErf(View(y.data(), 1, y.size()), {1});
  check("erf", y, [](double z) { return 0.5 * z * std::erfc(-z / std::sqrt(2.0)); });
  y = x;
  GeluTanh(View(y.data(), 1, y.size()), {1});
  check("tanh", y, [](double z) {
    return 0.5 * z * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
  });
  y = x;
  const std::vector<float> ones(x.size(), 1.0f);
  SwiGlu(View(y.data(), 1, y.size()), ConstView(ones.data(), 1, ones.size()), {1});
  check("silu", y, [](double z) { return z / (1 + std::exp(-z)); });
}

TEST_P(LayersTest, ActivationsOfHugeValuesAreTheirLimits) {
  for (float z : {100.0f, 1e4f, 1e30f}) {
    std::vector<float> y{z, -z}, ones{1.0f, 1.0f};
    const View view(y.data(), 1, 2);
    GeluErf(view, {1});
    EXPECT_EQ(y[0], z);
    EXPECT_EQ(y[1], 0.0f);
    y = {z, -z};
    SwiGlu(view, ConstView(ones.data(), 1, 2), {1});
    EXPECT_EQ(y[0], z);
    // exp is capped at e^88: what should be zero stays below 1e-38 of the input.
    EXPECT_NEAR(y[1], 0.0f, z * 1e-38f);
    y = {z, -z};
    GeluTanh(view, {1});
    EXPECT_EQ(y[0], z);
    EXPECT_NEAR(y[1], 0.0f, z * 1e-38f);
  }
}

TEST_P(LayersTest, RmsNormOfZeroHugeAndTinyRows) {
  for (float size : {0.0f, 1e-30f, 1e30f}) {
    std::vector<float> x(19, size), w(19, 2.0f), y(19);
    RmsNorm(ConstView(x.data(), 1, 19), w.data(), 1e-6f, View(y.data(), 1, 19), {1});
    const double want = 2.0 * size / std::sqrt(static_cast<double>(size) * size + 1e-6);
    for (float v : y) EXPECT_NEAR(v, want, 1e-6 * std::abs(want));
  }
}

TEST_P(LayersTest, HeadsAreNormalisedOneByOne) {
  constexpr size_t kRows = 3, kHeads = 2, kDim = 24, kStride = 60;
  std::vector<float> x = test::SeededNormal(1, kRows * kStride);
  const std::vector<float> before = x, w = test::SeededNormal(2, kDim);
  RmsNormHeads(View(x.data(), kRows, kHeads * kDim, kStride), kHeads, kDim, w.data(), 1e-6f, {2});
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t h = 0; h < kHeads; ++h) {
      const float* head = &before[r * kStride + h * kDim];
      double squares = 0;
      for (size_t i = 0; i < kDim; ++i) squares += static_cast<double>(head[i]) * head[i];
      for (size_t i = 0; i < kDim; ++i) {
        const double want = w[i] * head[i] / std::sqrt(squares / kDim + 1e-6);
        EXPECT_NEAR(x[r * kStride + h * kDim + i], want, 3e-7 * std::abs(want));
      }
    }
    for (size_t i = kHeads * kDim; i < kStride; ++i) EXPECT_EQ(x[r * kStride + i], before[r * kStride + i]);
  }
}

TEST_P(LayersTest, OddWidthsStridesAndThreadsAgree) {
  constexpr size_t kRows = 700;
  for (size_t cols : {1u, 3u, 31u, 100u}) {
    const size_t stride = cols + 3;
    const std::vector<float> x = test::SeededNormal(3, kRows * stride),
                             up = test::SeededNormal(4, kRows * stride);
    const std::vector<float> w = test::SeededNormal(5, cols), b = test::SeededNormal(6, cols);
    const auto run = [&](size_t threads) {
      std::vector<float> y = x;
      const View view(y.data(), kRows, cols, stride);
      const ConstView other(up.data(), kRows, cols, stride);
      LayerNorm(view, w.data(), b.data(), 1e-6f, view, {threads});
      SwiGlu(view, other, {threads});
      AddScaled(other, 0.5f, view, {threads});
      GeluErf(view, {threads});
      return y;
    };
    const std::vector<float> one = run(1);
    EXPECT_EQ(run(2), one);
    EXPECT_EQ(run(3), one);
    for (size_t r = 0; r < kRows; ++r)
      for (size_t i = cols; i < stride; ++i) ASSERT_EQ(one[r * stride + i], x[r * stride + i]);
  }
}

TEST_P(LayersTest, AddScaledAdds) {
  const std::vector<float> x = test::Seeded(7, 45);
  std::vector<float> y = test::Seeded(8, 45);
  std::vector<float> want(45);
  // Multiples of 1/256: exact.
  for (size_t i = 0; i < 45; ++i) want[i] = y[i] + 0.5f * x[i];
  AddScaled(ConstView(x.data(), 5, 9), 0.5f, View(y.data(), 5, 9), {1});
  EXPECT_EQ(y, want);
}

}  // namespace
}  // namespace qwen3vl
