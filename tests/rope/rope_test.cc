// SPDX-License-Identifier: Apache-2.0
#include "rope/rope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "hw/cpu_info.h"
#include "rope/positions.h"
#include "support/golden.h"
#include "support/isa.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl::rope {
namespace {

std::vector<Position> PositionsIn(const test::GoldenFile& golden, const std::string& name) {
  const std::vector<int32_t> p = golden[name + ".positions"].Ints();
  const size_t n = p.size() / 3;
  std::vector<Position> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = {p[i], p[n + i], p[2 * n + i]};
  return out;
}

RopeTable TextTable(const nlohmann::json& c, const std::vector<Position>& positions) {
  return RopeTable::Text(positions, c["head_dim"], c["rope_theta"],
                         {c["mrope_section"][0], c["mrope_section"][1], c["mrope_section"][2]});
}

int32_t LargestPosition(const std::vector<Position>& positions) {
  int32_t largest = 0;
  for (const Position& p : positions) largest = std::max({largest, p.t, p.h, p.w});
  return largest;
}

// The angle is a float32 product: half a unit in the last place of both factors' rounding, so an error of
// position * 2^-23 radians at most between two sound float32 implementations; below 100 a fixed limit is
// tighter or near it (Tolerances in tests/data/README.md).
double AngleTolerance(int32_t largest) { return largest < 100 ? 5e-6 : largest * 0x1p-23; }

TEST(RopeTable, TextEqualsTheReference) {
  const test::GoldenFile golden("modules/rope.safetensors");
  const nlohmann::json cases = test::ReadJson("modules/rope.json")["text"];
  for (const auto& c : cases) {
    const std::string name = c["name"];
    SCOPED_TRACE(name);
    const std::vector<Position> positions = PositionsIn(golden, name);
    const RopeTable table = TextTable(c, positions);
    ASSERT_EQ(table.size(), positions.size());
    const double tolerance = AngleTolerance(LargestPosition(positions));
    const std::span<const float> cos(table.cos(0), table.size() * table.half());
    const std::span<const float> sin(table.sin(0), table.size() * table.half());
    EXPECT_TRUE(test::AllNear(cos, golden[name + ".cos"].Floats(), tolerance));
    EXPECT_TRUE(test::AllNear(sin, golden[name + ".sin"].Floats(), tolerance));
  }
}

TEST(RopeTable, VisionEqualsTheReference) {
  const test::GoldenFile golden("modules/rope.safetensors");
  const nlohmann::json cases = test::ReadJson("modules/rope.json")["vision"];
  for (const auto& c : cases) {
    SCOPED_TRACE(c["angles"].get<std::string>());
    std::vector<Grid> grids;
    for (const auto& g : c["grid_thw"]) grids.push_back({g[0], g[1], g[2]});
    const RopeTable table = RopeTable::Vision(PatchPositions(grids, 2), c["head_dim"]);
    std::vector<double> cos, sin;
    for (double angle : golden[c["angles"].get<std::string>()].Doubles()) {
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
    // Patch coordinates stay below 20 here: an angle is off by 1e-6 at most.
    EXPECT_TRUE(test::AllNear({table.cos(0), table.size() * table.half()}, cos, 2e-6));
    EXPECT_TRUE(test::AllNear({table.sin(0), table.size() * table.half()}, sin, 2e-6));
  }
}

class RotateTest : public test::EachIsaTest {};
INSTANTIATE_TEST_SUITE_P(Isa, RotateTest, testing::ValuesIn(hw::AvailableIsas()), test::IsaName);

// in, out: [heads, n, head_dim] as recorded; Rotate wants [n, heads * head_dim].
void CheckRotation(const test::GoldenFile& golden, const std::string& name, const RopeTable& table,
                   double tolerance) {
  const test::GoldenTensor& in = golden[name + "_in"];
  const size_t heads = in.shape[0], n = in.shape[1], dim = in.shape[2];
  const std::vector<float> x = in.Floats();
  std::vector<float> rows(x.size()), back(x.size());
  for (size_t i = 0; i < x.size(); ++i) rows[((i / dim % n) * heads + i / dim / n) * dim + i % dim] = x[i];
  Rotate(table, hw::MatrixView<float>(rows.data(), n, heads * dim), heads, {2});
  for (size_t i = 0; i < x.size(); ++i) back[i] = rows[((i / dim % n) * heads + i / dim / n) * dim + i % dim];
  EXPECT_TRUE(test::AllNear(back, golden[name + "_out"].Floats(), tolerance));
}

TEST_P(RotateTest, EqualsTheReference) {
  const test::GoldenFile golden("modules/rope.safetensors");
  size_t n_checked = 0;
  const nlohmann::json cases = test::ReadJson("modules/rope.json")["text"];
  for (const auto& c : cases) {
    const std::string name = c["name"];
    if (!golden.Has(name + ".q_in")) continue;
    SCOPED_TRACE(name);
    const std::vector<Position> positions = PositionsIn(golden, name);
    // Inputs reach 5; two of them share an error of the angle.
    const double tolerance = 10 * AngleTolerance(LargestPosition(positions));
    CheckRotation(golden, name + ".q", TextTable(c, positions), tolerance);
    CheckRotation(golden, name + ".k", TextTable(c, positions), tolerance);
    ++n_checked;
  }
  EXPECT_GT(n_checked, 5u);
}

TEST_P(RotateTest, HandlesOddHalvesStridesAndAnyThreadCount) {
  for (size_t half : {1u, 2u, 7u, 18u, 33u}) {
    const size_t n = 300, heads = 3, stride = heads * 2 * half + 5;
    std::vector<Position> positions(n);
    for (size_t i = 0; i < n; ++i) positions[i] = {static_cast<int32_t>(i), 2, 3};
    const RopeTable table = RopeTable::Text(positions, 2 * half, 1e4, {half, 0, 0});
    const std::vector<float> x = test::Seeded(7, n * stride);
    std::vector<float> want = x;
    for (size_t r = 0; r < n; ++r)
      for (size_t h = 0; h < heads; ++h)
        for (size_t i = 0; i < half; ++i) {
          const size_t low = r * stride + h * 2 * half + i;
          const double a = x[low], b = x[low + half], c = table.cos(r)[i], s = table.sin(r)[i];
          want[low] = static_cast<float>(a * c - b * s);
          want[low + half] = static_cast<float>(b * c + a * s);
        }
    std::vector<float> first;
    for (size_t threads : {1u, 2u, 3u}) {
      std::vector<float> y = x;
      Rotate(table, hw::MatrixView<float>(y.data(), n, heads * 2 * half, stride), heads, {threads});
      // Two products and a sum of values up to 1.
      EXPECT_TRUE(test::AllNear(y, want, 2e-7)) << "half " << half;
      if (first.empty()) first = y;
      EXPECT_EQ(y, first) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace qwen3vl::rope
