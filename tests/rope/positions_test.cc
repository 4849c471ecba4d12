// SPDX-License-Identifier: Apache-2.0
#include "rope/positions.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qwen3vl/error.h"
#include "support/golden.h"

namespace qwen3vl::rope {
namespace {

constexpr VisualIds kPad{1000, 1001};

std::vector<Grid> GridsOf(const nlohmann::json& rows) {
  std::vector<Grid> out;
  for (const auto& r : rows) out.push_back({r[0], r[1], r[2]});
  return out;
}

// The recorded cases run a whole batch through one list of grids, each sequence taking what it has runs for.
// This hands out the grids of one sequence.
std::vector<Grid> TakeGrids(const std::vector<int32_t>& ids, int32_t pad, size_t merge_size,
                            std::vector<Grid>& left) {
  size_t tokens = 0;
  for (int32_t id : ids) tokens += id == pad;
  std::vector<Grid> out;
  while (tokens > 0 && !left.empty()) {
    const Grid g = left.front();
    left.erase(left.begin());
    out.push_back(g);
    tokens -= std::min(tokens, g.t * g.h * g.w / merge_size / merge_size);
  }
  return out;
}

struct GoldenCase {
  nlohmann::json json;
  size_t merge_size;
  VisualIds pad;
};

// Places under a mask of 0 hold position 1 in the recording, and its delta counts the padded length.
void CheckSequence(const GoldenCase& c, size_t row, std::vector<Grid>& images, std::vector<Grid>& videos) {
  const auto ids = c.json["input_ids"][row].get<std::vector<int32_t>>();
  const bool masked = !c.json["attention_mask"].is_null();
  std::vector<int32_t> kept;
  std::vector<size_t> place;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (masked && c.json["attention_mask"][row][i] == 0) continue;
    kept.push_back(ids[i]);
    place.push_back(i);
  }
  const PromptPositions found =
      PositionsOf(kept, TakeGrids(kept, c.pad.image, c.merge_size, images),
                  TakeGrids(kept, c.pad.video, c.merge_size, videos), c.merge_size, c.pad);
  std::vector<Position> all(ids.size(), Position{1, 1, 1});
  for (size_t i = 0; i < place.size(); ++i) all[place[i]] = found.positions[i];
  const auto& want = c.json["position_ids"][row];
  for (size_t i = 0; i < ids.size(); ++i)
    ASSERT_EQ(all[i], (Position{want[0][i], want[1][i], want[2][i]})) << "sequence " << row << " token " << i;
  EXPECT_EQ(found.next - static_cast<int64_t>(ids.size()), c.json["rope_delta"][row].get<int64_t>());
}

TEST(Positions, EqualTheReferenceInAllRecordedCases) {
  const nlohmann::json golden = test::ReadJson("modules/rope_index.json");
  const auto& special = golden["special_ids"];
  const VisualIds pad{special["image"], special["video"]};
  size_t n_cases = 0;
  for (const auto& json : golden["cases"]) {
    SCOPED_TRACE(json["name"].get<std::string>());
    const GoldenCase c{json, golden["spatial_merge_size"].get<size_t>(), pad};
    std::vector<Grid> images = GridsOf(json["image_grid_thw"]), videos = GridsOf(json["video_grid_thw"]);
    for (size_t row = 0; row < json["input_ids"].size(); ++row) CheckSequence(c, row, images, videos);
    EXPECT_TRUE(images.empty() && videos.empty());
    ++n_cases;
  }
  EXPECT_EQ(n_cases, 31u);
}

TEST(Positions, ContinueAfterAnEarlierTurn) {
  const std::vector<int32_t> ids{5, 1000, 1000, 6};
  const std::vector<Grid> images{{1, 2, 4}};
  const PromptPositions p = PositionsOf(ids, images, {}, 2, kPad, 40);
  const std::vector<Position> want{{40, 40, 40}, {41, 41, 41}, {41, 41, 42}, {43, 43, 43}};
  EXPECT_EQ(p.positions, want);
  EXPECT_EQ(p.next, 44);
}

TEST(Positions, GiveEachTemporalGroupOfAClipItsOwnRun) {
  const std::vector<int32_t> ids{1001, 1001, 7, 1001, 1001};
  const std::vector<Grid> videos{{2, 4, 2}};
  const PromptPositions p = PositionsOf(ids, {}, videos, 2, kPad);
  const std::vector<Position> want{{0, 0, 0}, {0, 1, 0}, {2, 2, 2}, {3, 3, 3}, {3, 4, 3}};
  EXPECT_EQ(p.positions, want);
  EXPECT_EQ(p.next, 5);
}

void ExpectRejected(const std::vector<int32_t>& ids, const std::vector<Grid>& images,
                    const std::vector<Grid>& videos, const std::string& part, int64_t next = 0) {
  try {
    PositionsOf(ids, images, videos, 2, kPad, next);
    FAIL() << "accepted; wanted a message with: " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Positions, RejectRunsThatDoNotMatchTheGrids) {
  const std::vector<int32_t> two{1, 1000, 1000, 2};
  ExpectRejected(two, {}, {}, "only 0 image grid(s)");
  ExpectRejected(two, {{1, 2, 2}}, {}, "only 1 image grid(s)");
  ExpectRejected(two, {{1, 4, 4}}, {}, "run of 2 placeholders");
  ExpectRejected(two, {{1, 2, 4}, {1, 2, 2}}, {}, "image 1");
  ExpectRejected(two, {{1, 2, 4}}, {{1, 2, 2}}, "video 0");
  ExpectRejected({1001, 3}, {}, {{2, 2, 2}}, "temporal group 1");
}

TEST(Positions, RejectImpossibleGridsAndPositions) {
  const std::vector<int32_t> one{1000};
  ExpectRejected(one, {{1, 3, 2}}, {}, "multiples of the merge size");
  ExpectRejected(one, {{1, 0, 2}}, {}, "multiples of the merge size");
  ExpectRejected(one, {{2, 2, 2}}, {}, "t = 2");
  const size_t huge = std::numeric_limits<size_t>::max() - 1;
  ExpectRejected(one, {{1, huge, huge}}, {}, "2^31");
  ExpectRejected({1, 2}, {}, {}, "2^31", std::numeric_limits<int32_t>::max() - 1);
  ExpectRejected({1}, {}, {}, "2^31", -1);
}

TEST(PatchPositions, WalkTheMergeBlocksRowMajor) {
  // The raster order of a 4 x 6 grid that the reference's permutation gives.
  const std::vector<int> raster{0,  1,  6,  7,  2,  3,  8,  9,  4,  5,  10, 11,
                                12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23};
  const std::vector<Grid> grids{{2, 4, 6}, {1, 2, 2}};
  const std::vector<Position> found = PatchPositions(grids, 2);
  ASSERT_EQ(found.size(), 52u);
  for (size_t i = 0; i < 48; ++i)
    EXPECT_EQ(found[i], (Position{0, raster[i % 24] / 6, raster[i % 24] % 6})) << i;
  EXPECT_EQ(found[48], (Position{0, 0, 0}));
  EXPECT_EQ(found[51], (Position{0, 1, 1}));
}

}  // namespace
}  // namespace qwen3vl::rope
