// SPDX-License-Identifier: Apache-2.0
// The kernels of a mixture of experts against float64, source and PTX bit-equal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda/kernel_runs.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/cuda/expert_kernels.h"
#include "qwen3vl/cuda/product_operands.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using test::Bytes;
using test::ExpectOneResult;
using testing::Each;
using testing::ElementsAre;

struct Routed {
  std::vector<unsigned> experts;
  std::vector<float> weights;
};

Routed Route(const std::vector<float>& logits, unsigned n_experts, unsigned used) {
  const unsigned n = static_cast<unsigned>(logits.size()) / n_experts;
  Routed r{std::vector<unsigned>(n * used, 77), std::vector<float>(n * used, 7)};
  const gpu::RouteParams p{logits.data(), r.experts.data(), r.weights.data(), n, n_experts, used};
  const gpu::Grid grid{Groups(n, gpu::kRouteThreads / 32)};
  ExpectOneResult(EmbeddedDeviceCode(), "route_tokens", grid, &p, Bytes(r.experts));
  ExpectOneResult(EmbeddedDeviceCode(), "route_tokens", grid, &p, Bytes(r.weights));
  return r;
}

TEST(DeviceExperts, RoutesToTheBest) {
  struct Case {
    unsigned n, n_experts, used;
    float mean = 0;  // with a large one the largest logit has to be taken off
  };
  // Below, at and above the lanes of a warp; tokens that fill no whole block; every expert.
  for (const Case& c : {Case{5, 8, 2}, {3, 128, 8}, {1, 40, 32}, {4, 3, 3, 200}, {2, 1, 1}}) {
    SCOPED_TRACE(testing::Message() << c.used << " of " << c.n_experts);
    std::vector<float> logits = test::SeededNormal(1, c.n * c.n_experts, 4);
    for (float& logit : logits) logit += c.mean;
    const Routed found = Route(logits, c.n_experts, c.used);
    for (size_t t = 0; t < c.n; ++t) {
      const float* row = &logits[t * c.n_experts];
      std::vector<unsigned> order(c.n_experts);
      std::iota(order.begin(), order.end(), 0u);
      std::ranges::sort(order, std::greater<>(), [&](unsigned e) { return row[e]; });
      double sum = 0;
      for (size_t i = 0; i < c.used; ++i) sum += std::exp(double{row[order[i]]});
      for (size_t i = 0; i < c.used; ++i) {
        EXPECT_EQ(found.experts[t * c.used + i], order[i]);
        const double wanted = std::exp(double{row[order[i]]}) / sum;
        // The argument of exp2, up to 30, is rounded to 1e-6.
        EXPECT_NEAR(found.weights[t * c.used + i], wanted, 3e-6 * wanted);
      }
    }
  }
}

TEST(DeviceExperts, EqualLogitsGoToTheLowerExpert) {
  std::vector<float> logits(70, 1.0f);
  logits[66] = logits[35] = 2;
  EXPECT_THAT(Route(logits, 70, 5).experts, ElementsAre(35, 66, 0, 1, 2));
  logits.assign(70, -INFINITY);
  logits[50] = 0;
  const Routed one = Route(logits, 70, 3);
  EXPECT_THAT(one.experts, ElementsAre(50, 0, 1));
  EXPECT_THAT(one.weights, ElementsAre(1, 0, 0));
}

// So that it reaches the hidden states, which are looked at.
TEST(DeviceExperts, ALogitThatIsNotANumberSpoilsTheWeights) {
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> logits = test::SeededNormal(1, 8);
    logits[3] = bad;
    const Routed found = Route(logits, 8, 8);
    EXPECT_THAT(found.weights, Each(testing::Truly([](float w) { return std::isnan(w); })));
    EXPECT_THAT(found.experts, Each(testing::Lt(8u)));
  }
}

// In the order of their experts, each expert's own in theirs, in tiles that hold one expert's alone.
TEST(DeviceExperts, GroupsPairsByExpert) {
  struct Case {
    unsigned n_pairs, n_experts;
    uint64_t among;  // the pairs are of the first so many experts
  };
  // Experts without pairs, with more than a tile's; more of either than the block takes at a time.
  for (const Case& c :
       {Case{1, 1, 1}, {64, 8, 1}, {65, 8, 1}, {300, 8, 3}, {1025, 600, 600}, {2100, 300, 20}}) {
    SCOPED_TRACE(testing::Message() << c.n_pairs << " pairs, " << c.n_experts << " experts");
    std::vector<unsigned> experts(c.n_pairs);
    for (size_t i = 0; i < experts.size(); ++i)
      experts[i] = static_cast<unsigned>((test::SeededBits(1, i) >> 40) % c.among);
    const size_t n_tiles = DevicePairs::MaxTiles(c.n_pairs, c.n_experts);
    std::vector<unsigned> order(c.n_pairs, 9999);
    std::vector<gpu::ExpertTile> tiles(n_tiles, {9, 9, 9, 9});
    const gpu::GroupParams p{experts.data(), order.data(), tiles.data(),
                             c.n_pairs,      c.n_experts,  static_cast<unsigned>(n_tiles)};
    ExpectOneResult(EmbeddedDeviceCode(), "route_group", {1}, &p, Bytes(order));
    ExpectOneResult(EmbeddedDeviceCode(), "route_group", {1}, &p, Bytes(tiles));
    std::vector<unsigned> wanted(c.n_pairs);
    std::iota(wanted.begin(), wanted.end(), 0u);
    std::ranges::stable_sort(wanted, {}, [&](unsigned pair) { return experts[pair]; });
    EXPECT_EQ(order, wanted);
    unsigned at = 0;
    for (const gpu::ExpertTile& tile : tiles) {
      if (at == c.n_pairs) {
        EXPECT_EQ(tile.count, 0u);
        continue;
      }
      ASSERT_EQ(tile.first, at);
      ASSERT_GE(tile.count, 1u);
      ASSERT_LE(tile.count, gpu::kTileRows);
      at += tile.count;
      ASSERT_LE(at, c.n_pairs);
      for (unsigned i = tile.first; i < at; ++i) ASSERT_EQ(experts[order[i]], tile.expert);
      // Full, or the expert's last.
      const bool last_of_expert = at == c.n_pairs || experts[order[at]] != tile.expert;
      ASSERT_TRUE(tile.count == gpu::kTileRows || last_of_expert);
    }
    EXPECT_EQ(at, c.n_pairs);
  }
}

TEST(DeviceExperts, MixesWhatTheExpertsMade) {
  for (const unsigned cols : {8u, 1028u}) {
    const unsigned tokens = 2, used = 3;
    const std::vector<float> y = test::SeededNormal(1, tokens * used * cols),
                             w = test::SeededNormal(2, tokens * used);
    std::vector<float> x = test::SeededNormal(3, tokens * cols);
    std::vector<double> wanted(x.begin(), x.end());
    const gpu::MixParams p{y.data(), w.data(), x.data(), cols, used};
    ExpectOneResult(EmbeddedDeviceCode(), "route_mix", {Groups(cols, gpu::kValuesPerBlock), tokens}, &p,
                    Bytes(x));
    for (size_t pair = 0; pair < tokens * used; ++pair)
      for (size_t c = 0; c < cols; ++c)
        wanted[pair / used * cols + c] += double{w[pair]} * y[pair * cols + c];
    EXPECT_LE(test::RelativeError(x, wanted), 1e-6);  // three products in fp32
  }
}

struct ExpertCase {
  hw::Format format;
  const char* name;  // of the kernels
  size_t rows, cols;
};

void PrintTo(const ExpertCase& c, std::ostream* os) { *os << c.name; }

constexpr size_t kExperts = 3;

class DeviceExpertProductTest : public testing::TestWithParam<ExpertCase> {
 protected:
  // Pairs of these experts, `share` of each row of x; by tiles, or by pairs.
  void Check(const std::vector<unsigned>& experts, size_t share, bool tiles) {
    SCOPED_TRACE(testing::Message() << experts.size() << " pairs, " << share << " of a token");
    const ExpertCase& c = GetParam();
    const size_t n = experts.size();
    const test::ProductOperands of(c.format, kExperts * c.rows, c.cols, n / share);

    std::vector<unsigned> order(n);
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, [&](unsigned pair) { return experts[pair]; });
    std::vector<gpu::ExpertTile> all;
    for (unsigned at = 0, end; at < n; at = end) {
      for (end = at; end < n && experts[order[end]] == experts[order[at]] && end - at < gpu::kTileRows;)
        ++end;
      all.push_back({experts[order[at]], at, end - at, 0});
    }
    all.push_back({});  // one without pairs

    std::vector<float> y(n * c.rows, NAN);
    std::vector<double> wanted(y.size());
    for (size_t pair = 0; pair < n; ++pair)
      for (size_t r = 0; r < c.rows; ++r)
        for (size_t i = 0; i < c.cols; ++i)
          wanted[pair * c.rows + r] += double{of.made.values[(experts[pair] * c.rows + r) * c.cols + i]} *
                                       of.seen[pair / share * c.cols + i];
    gpu::ExpertProductParams p{.product = of.Params(0, n, y),
                               .experts = experts.data(),
                               .order = order.data(),
                               .tiles = all.data(),
                               .expert_bytes = c.rows * of.layout.row_bytes,
                               .share = static_cast<unsigned>(share)};
    p.product.rows = static_cast<unsigned>(c.rows);
    const gpu::Grid grid = tiles
                               ? gpu::Grid{Groups(c.rows, gpu::kTileRows), static_cast<unsigned>(all.size())}
                               : gpu::Grid{Groups(c.rows, gpu::kDotRows), static_cast<unsigned>(n)};
    ExpectOneResult(EmbeddedDeviceCode(), c.name + std::string(tiles ? "_tile" : "_one"), grid, &p, Bytes(y));
    // fp32 sums of up to 512 products of one sign or the other: a few units of 6e-8.
    EXPECT_LE(test::RelativeError(y, wanted), 1e-6);
  }
};

TEST_P(DeviceExpertProductTest, OfEveryPairIsThatOfFloat64) {
  Check({2, 0, 0, 1, 2, 1}, 2, /*tiles=*/false);
  Check({1, 2, 1}, 1, /*tiles=*/false);
}

TEST_P(DeviceExpertProductTest, OfTilesIsThatOfFloat64) {
  std::vector<unsigned> experts(72, 2);  // a whole tile and the beginning of another
  experts[3] = experts[70] = 0;
  Check(experts, 2, /*tiles=*/true);
  Check({0, 2, 0, 1, 2}, 1, /*tiles=*/true);
}

INSTANTIATE_TEST_SUITE_P(Formats, DeviceExpertProductTest,
                         testing::Values(ExpertCase{hw::Format::kF32, "experts_F32", 67, 40},
                                         ExpertCase{hw::Format::kF16, "experts_F16", 5, 264},
                                         ExpertCase{hw::Format::kBF16, "experts_BF16", 5, 40},
                                         ExpertCase{hw::Format::kQ8_0, "experts_Q8_0", 5, 288},
                                         ExpertCase{hw::Format::kQ4_0, "experts_Q4_0", 5, 32},
                                         ExpertCase{hw::Format::kQ4_K, "experts_Q4_K", 5, 512},
                                         ExpertCase{hw::Format::kQ5_K, "experts_Q5_K", 5, 256},
                                         ExpertCase{hw::Format::kQ6_K, "experts_Q6_K", 5, 512}),
                         [](const auto& param_info) { return std::string(param_info.param.name + 8); });

}  // namespace
}  // namespace qwen3vl
