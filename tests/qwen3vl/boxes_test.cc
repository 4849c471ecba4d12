// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/boxes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwen3vl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(FindBoxes, TakesTheFamilysJson) {
  const std::vector<Box> boxes = FindBoxes(
      "```json\n[\n\t{\"bbox_2d\": [10, 20, 300, 400], \"label\": \"red circle\"},\n"
      "\t{\"label\": \"a {dog}\", \"bbox_2d\": [0, 0.5, 1000, 1000]}\n]\n```");
  ASSERT_EQ(boxes.size(), 1u) << "a brace inside a label ends its object early: passed over";
  EXPECT_EQ(boxes[0].label, "red circle");
  EXPECT_THAT(boxes[0].corners, ElementsAre(10, 20, 300, 400));
}

TEST(FindBoxes, KeepsTheWholeOnesOfACutAnswer) {
  const std::vector<Box> boxes = FindBoxes(
      R"(Here: {"bbox_2d": [1, 2, 3, 4]} and {"bbox_2d":[5,6,7,8],"label":"b"}, {"bbox_2d": [9, 1)");
  ASSERT_EQ(boxes.size(), 2u);
  EXPECT_EQ(boxes[0].label, "");
  EXPECT_THAT(boxes[1].corners, ElementsAre(5, 6, 7, 8));
}

TEST(FindBoxes, PassesOverWhatIsNoBox) {
  for (const char* answer :
       {"", "no box here", "\"bbox_2d\"", "{\"bbox_2d\"", "}\"bbox_2d\"{", R"({"bbox_2d": [1, 2, 3]})",
        R"({"bbox_2d": [1, 2, 3, "4"]})", R"({"bbox_2d": {"x": 1}})", R"({"bbox_2d": null})"})
    EXPECT_THAT(FindBoxes(answer), IsEmpty()) << answer;
}

Picture Grey(size_t width, size_t height) {
  return {width, height, std::vector<uint8_t>(width * height * 3, 128)};
}

bool IsPen(const Picture& p, size_t x, size_t y, size_t box) {
  return std::equal(PenOfBox(box).rgb.begin(), PenOfBox(box).rgb.end(), &p.pixels[(y * p.width + x) * 3]);
}

TEST(DrawBoxes, OutlinesTheScaledBox) {
  // 200 x 100 pixels: corners 100..500 and 200..800 of 1000 are columns 20..99 and rows 20..79; lines of 2
  // pixels.
  const Picture p = DrawBoxes(Grey(200, 100), {{{100, 200, 500, 800}, ""}});
  for (size_t y = 0; y < p.height; ++y)
    for (size_t x = 0; x < p.width; ++x) {
      const bool inside = x >= 20 && x < 100 && y >= 20 && y < 80;
      const bool core = x >= 22 && x < 98 && y >= 22 && y < 78;
      EXPECT_EQ(IsPen(p, x, y, 0), inside && !core) << x << ", " << y;
    }
}

TEST(DrawBoxes, TakesCornersThatAreCrossedBeyondOrEqual) {
  const Picture p = DrawBoxes(Grey(50, 40), {{{900, 800, 100, 200}, ""}, {{-1e300, 5000, 1e300, 6000}, ""}});
  EXPECT_TRUE(IsPen(p, 5, 8, 0));
  EXPECT_TRUE(IsPen(p, 44, 31, 0));
  for (size_t x = 0; x < p.width; ++x) EXPECT_TRUE(IsPen(p, x, 39, 1)) << x;
}

}  // namespace
}  // namespace qwen3vl
