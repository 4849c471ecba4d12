// SPDX-License-Identifier: Apache-2.0
// Products with the weights of every format that the GPU takes: against float64, source and PTX bit-equal.
#include <gtest/gtest.h>

#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/product_operands.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

struct ProductCase {
  hw::Format format;
  const char* name;  // of the kernels
  size_t rows, cols, n;
};

void PrintTo(const ProductCase& c, std::ostream* os) {
  *os << c.name << " " << c.rows << " x " << c.cols << ", n " << c.n;
}

std::vector<ProductCase> Cases() {
  std::vector<ProductCase> cases;
  for (const auto& [format, name] : {std::pair{hw::Format::kF32, "product_F32"},
                                     {hw::Format::kF16, "product_F16"},
                                     {hw::Format::kBF16, "product_BF16"},
                                     {hw::Format::kQ8_0, "product_Q8_0"},
                                     {hw::Format::kQ4_0, "product_Q4_0"},
                                     {hw::Format::kQ4_K, "product_Q4_K"},
                                     {hw::Format::kQ5_K, "product_Q5_K"},
                                     {hw::Format::kQ6_K, "product_Q6_K"}}) {
    // Widths below, at and above what a warp takes at a time; rows that fill no whole block.
    const bool wide_blocks = hw::Info(format).block_elements == 256;
    const size_t narrow = wide_blocks ? 256 : hw::IsQuantized(format) ? 32 : 40;
    const size_t odd = wide_blocks ? 1280 : hw::IsQuantized(format) ? 1056 : 264;
    cases.push_back({format, name, 5, narrow, 1});
    cases.push_back({format, name, 3, odd, 1});
    cases.push_back({format, name, 6, odd, 3});
    cases.push_back({format, name, 67, narrow, 5});
    cases.push_back({format, name, 20, odd, 66});
  }
  return cases;
}

std::vector<double> Reference(const ProductCase& c, const std::vector<float>& w, const std::vector<double>& x,
                              const std::vector<float>& y) {
  std::vector<double> out(y.begin(), y.end());
  for (size_t t = 0; t < c.n; ++t)
    for (size_t r = 0; r < c.rows; ++r)
      for (size_t i = 0; i < c.cols; ++i)
        out[t * c.rows + r] += static_cast<double>(w[r * c.cols + i]) * x[t * c.cols + i];
  return out;
}

class DeviceProductTest : public testing::TestWithParam<ProductCase> {};

TEST_P(DeviceProductTest, IsThatOfFloat64AndTheSameInPtx) {
  const ProductCase& c = GetParam();
  const test::ProductOperands of(c.format, c.rows, c.cols, c.n);
  const std::vector<float> bias = test::SeededNormal(13, c.rows, 3);
  for (const bool accumulate : {false, true}) {
    const bool biased = !accumulate;
    std::vector<float> y = accumulate ? test::Seeded(9, c.n * c.rows) : std::vector<float>(c.n * c.rows, NAN);
    std::vector<float> start = accumulate ? y : std::vector<float>(y.size());
    for (size_t i = 0; biased && i < start.size(); ++i) start[i] += bias[i % c.rows];
    const std::vector<double> wanted = Reference(c, of.made.values, of.seen, start);
    gpu::ProductParams p = of.Params(0, c.n, y);
    p.bias = biased ? bias.data() : nullptr;
    p.accumulate = accumulate;
    const char* kind = c.n == 1 ? "_one" : c.n <= gpu::kMaxDotTokens ? "_four" : "_tile";
    const gpu::Grid grid = c.n <= gpu::kMaxDotTokens
                               ? gpu::Grid{Groups(c.rows, gpu::kDotRows)}
                               : gpu::Grid{Groups(c.rows, gpu::kTileRows), Groups(c.n, gpu::kTileRows)};
    test::ExpectOneResult(EmbeddedDeviceCode(), c.name + std::string(kind), grid, &p, test::Bytes(y));
    // fp32 sums of up to 1280 products of one sign or the other: a few units of 6e-8.
    EXPECT_LE(test::RelativeError(y, wanted), 1e-6);
  }
}

class DeviceProductOfFewTest : public testing::TestWithParam<ProductCase> {};

// What guessed tokens of an answer count on.
TEST_P(DeviceProductOfFewTest, IsThatOfEachRowAloneToTheBit) {
  const ProductCase& c = GetParam();
  const test::ProductOperands of(c.format, c.rows, c.cols, c.n);
  const auto product = [&](const char* kind, size_t first, size_t n) {
    std::vector<float> y(n * c.rows, NAN);
    const gpu::ProductParams p = of.Params(first, n, y);
    test::ExpectOneResult(EmbeddedDeviceCode(), c.name + std::string(kind), {Groups(c.rows, gpu::kDotRows)},
                          &p, test::Bytes(y));
    return y;
  };
  std::vector<float> alone;
  for (size_t i = 0; i < c.n; ++i) {
    const std::vector<float> one = product("_one", i, 1);
    alone.insert(alone.end(), one.begin(), one.end());
  }
  EXPECT_EQ(product("_four", 0, c.n), alone);
}

std::vector<ProductCase> CasesOfFew() {
  std::vector<ProductCase> cases = Cases();
  std::erase_if(cases, [](const ProductCase& c) { return c.n < 2 || c.n > gpu::kMaxDotTokens; });
  return cases;
}

std::string NameOf(const testing::TestParamInfo<ProductCase>& param_info) {
  const ProductCase& c = param_info.param;
  return std::string(c.name + 8) + "_" + std::to_string(c.rows) + "x" + std::to_string(c.cols) + "n" +
         std::to_string(c.n);
}

INSTANTIATE_TEST_SUITE_P(Formats, DeviceProductTest, testing::ValuesIn(Cases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Formats, DeviceProductOfFewTest, testing::ValuesIn(CasesOfFew()), NameOf);

}  // namespace
}  // namespace qwen3vl
