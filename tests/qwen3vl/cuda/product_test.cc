// SPDX-License-Identifier: Apache-2.0
// Products with the weights of every format that the GPU takes: against float64, source and PTX bit-equal.
#include <gtest/gtest.h>

#include "cuda/kernel_runs.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/device_weight.h"
#include "qwen3vl/cuda/quantized_weight.h"
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

// Activations as a product takes them.
struct Activations {
  std::vector<float> x;
  std::vector<int8_t> q;
  std::vector<float> scales, sums;
  std::vector<double> values;  // [n, cols] that a product sees
};

Activations MakeActivations(const ProductCase& c, size_t blocks) {
  Activations a;
  a.x = test::SeededNormal(11, c.n * c.cols);
  const size_t padded = blocks * 256;
  a.q.resize(c.n * padded);
  a.scales.resize(c.n * padded / 32);
  a.sums.resize(c.n * padded / 16);
  a.values.assign(a.x.begin(), a.x.end());
  if (blocks == 0) return a;
  gpu::QuantizeParams p{.x = a.x.data(),
                        .q = reinterpret_cast<unsigned*>(a.q.data()),
                        .scales = a.scales.data(),
                        .sums = a.sums.data(),
                        .cols = static_cast<unsigned>(c.cols),
                        .padded = static_cast<unsigned>(padded)};
  test::RunSource("layer_quantize",
                  {static_cast<unsigned>((padded + gpu::kQuantizeCols - 1) / gpu::kQuantizeCols),
                   static_cast<unsigned>(c.n)},
                  &p);
  for (size_t t = 0; t < c.n; ++t)
    for (size_t i = 0; i < c.cols; ++i)
      a.values[t * c.cols + i] = static_cast<double>(a.q[t * padded + i]) * a.scales[(t * padded + i) / 32];
  return a;
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
  const test::MadeWeight m = test::MakeWeight(c.format, c.rows, c.cols, 5);
  const DeviceWeight layout = LayoutOf(m.w);
  std::vector<std::byte> packed(layout.bytes());
  PackRows(m.w, layout, 0, c.rows, packed.data());
  const Activations a = MakeActivations(c, layout.blocks);
  const std::vector<float> bias = test::SeededNormal(13, c.rows, 3);
  for (const bool accumulate : {false, true}) {
    const bool biased = !accumulate;
    std::vector<float> y = accumulate ? test::Seeded(9, c.n * c.rows) : std::vector<float>(c.n * c.rows, NAN);
    std::vector<float> start = accumulate ? y : std::vector<float>(y.size());
    for (size_t i = 0; biased && i < start.size(); ++i) start[i] += bias[i % c.rows];
    const std::vector<double> wanted = Reference(c, m.values, a.values, start);
    const gpu::ProductParams p{.weights = packed.data(),
                               .x = a.x.data(),
                               .q = reinterpret_cast<const unsigned*>(a.q.data()),
                               .scales = a.scales.data(),
                               .sums = a.sums.data(),
                               .bias = biased ? bias.data() : nullptr,
                               .y = y.data(),
                               .rows = static_cast<unsigned>(c.rows),
                               .cols = static_cast<unsigned>(c.cols),
                               .n = static_cast<unsigned>(c.n),
                               .blocks = static_cast<unsigned>(layout.blocks),
                               .row_bytes = static_cast<unsigned>(layout.row_bytes),
                               .accumulate = accumulate};
    const auto groups = [](size_t n, unsigned of) { return static_cast<unsigned>((n + of - 1) / of); };
    const char* kind = c.n == 1 ? "_one" : c.n <= gpu::kMaxDotTokens ? "_four" : "_tile";
    const gpu::Grid grid = c.n <= gpu::kMaxDotTokens
                               ? gpu::Grid{groups(c.rows, gpu::kDotRows)}
                               : gpu::Grid{groups(c.rows, gpu::kTileRows), groups(c.n, gpu::kTileRows)};
    test::ExpectOneResult(EmbeddedDeviceCode(), c.name + std::string(kind), grid, &p,
                          std::as_writable_bytes(std::span(y)));
    // fp32 sums of up to 1280 products of one sign or the other: a few units of 6e-8.
    EXPECT_LE(test::RelativeError(y, wanted), 1e-6);
  }
}

class DeviceProductOfFewTest : public testing::TestWithParam<ProductCase> {};

// What guessed tokens of an answer count on.
TEST_P(DeviceProductOfFewTest, IsThatOfEachRowAloneToTheBit) {
  const ProductCase& c = GetParam();
  const test::MadeWeight m = test::MakeWeight(c.format, c.rows, c.cols, 5);
  const DeviceWeight layout = LayoutOf(m.w);
  std::vector<std::byte> packed(layout.bytes());
  PackRows(m.w, layout, 0, c.rows, packed.data());
  const Activations a = MakeActivations(c, layout.blocks);
  const auto product = [&](const char* kind, size_t first, size_t n) {
    std::vector<float> y(n * c.rows, NAN);
    const size_t padded = layout.padded_cols();
    const gpu::ProductParams p{.weights = packed.data(),
                               .x = a.x.data() + first * c.cols,
                               .q = reinterpret_cast<const unsigned*>(a.q.data() + first * padded),
                               .scales = a.scales.data() + first * padded / 32,
                               .sums = a.sums.data() + first * padded / 16,
                               .bias = nullptr,
                               .y = y.data(),
                               .rows = static_cast<unsigned>(c.rows),
                               .cols = static_cast<unsigned>(c.cols),
                               .n = static_cast<unsigned>(n),
                               .blocks = static_cast<unsigned>(layout.blocks),
                               .row_bytes = static_cast<unsigned>(layout.row_bytes),
                               .accumulate = 0};
    const auto groups = static_cast<unsigned>((c.rows + gpu::kDotRows - 1) / gpu::kDotRows);
    test::ExpectOneResult(EmbeddedDeviceCode(), c.name + std::string(kind), {groups}, &p,
                          std::as_writable_bytes(std::span(y)));
    return y;
  };
  const std::vector<float> few = product("_four", 0, c.n);
  std::vector<float> alone;
  for (size_t i = 0; i < c.n; ++i) {
    const std::vector<float> one = product("_one", i, 1);
    alone.insert(alone.end(), one.begin(), one.end());
  }
  EXPECT_EQ(few, alone);
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
