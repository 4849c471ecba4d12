// SPDX-License-Identifier: Apache-2.0
// What gpu_bench times is the product that it counts the work of.
#include "cuda/device/gpu_product.h"

#include <gtest/gtest.h>

#include <set>

#include "cuda/fake_driver.h"
#include "qwen3vl/cuda/driver_code.h"

namespace qwen3vl {
namespace {

struct Timed {
  const char* name;
  test::ProductProblem problem;
  double flop, bytes, tolerance;
};

void PrintTo(const Timed& t, std::ostream* os) { *os << t.name; }

class GpuProductTest : public testing::TestWithParam<Timed> {};

TEST_P(GpuProductTest, EveryCopyGivesTheResult) {
  if (test::CodeForDriver().layers.empty()) GTEST_SKIP() << "no device code in this build";
  const Timed& t = GetParam();
  test::FakeCuda fake;
  const auto device = std::make_shared<const hw::CudaDevice>(test::FakeDriver());
  const test::GpuProduct product(device, test::CodeForDriver().layers, t.problem, 2);
  for (size_t times : {1, 2}) {
    product.Run(times);
    EXPECT_LE(product.Error(), t.tolerance);
  }
  EXPECT_EQ(product.Flop(), t.flop);
  EXPECT_EQ(product.Bytes(), t.bytes);
}

// Products in floats are those of float64 to a few units of 6e-8; activations in 8 bits cost 4e-3 to 8e-3.
INSTANTIATE_TEST_SUITE_P(
    Problems, GpuProductTest,
    testing::Values(
        Timed{"OneToken", {hw::Format::kF32, 12, 40, 1}, 2 * 12 * 40, 4 * (12 * 40 + 52), 1e-6},
        Timed{
            "Prompt", {hw::Format::kQ8_0, 12, 256, 5}, 2 * 12 * 256 * 5, 12 * 272 + 4 * 5 * (256 + 12), 1e-2},
        // All four experts are used, by streaming and by tiles.
        Timed{"Experts",
              {hw::Format::kF16, 12, 40, 2, 4, 4},
              2 * 12 * 40 * 8,
              4 * 12 * 80 + 4 * 2 * (40 + 4 * 12),
              1e-6},
        Timed{"ManyOfExperts",
              {hw::Format::kF16, 12, 40, 5, 4, 4},
              2 * 12 * 40 * 20,
              4 * 12 * 80 + 4 * 5 * (40 + 4 * 12),
              1e-6}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace qwen3vl
