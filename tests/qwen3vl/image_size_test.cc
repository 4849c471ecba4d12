// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "qwen3vl/image.h"
#include "support/golden.h"

namespace qwen3vl {
namespace {

using nlohmann::json;

template <class Rule>
void CheckAll(const json& cases, const Rule& rule) {
  ASSERT_FALSE(cases.empty());
  for (const json& c : cases) {
    if (c.contains("error")) {
      EXPECT_THROW(rule(c), Error) << c;
    } else {
      const ImageSize want{c["resized_height"], c["resized_width"]};
      EXPECT_EQ(rule(c), want) << c;
    }
  }
}

TEST(SmartResize, MatchesEveryRecordedPicture) {
  CheckAll(test::ReadJson("modules/smart_resize.json")["image"], [](const json& c) {
    return SmartResize({c["height"], c["width"]}, c["factor"], c["min_pixels"], c["max_pixels"]);
  });
}

TEST(SmartResize, MatchesEveryRecordedClip) {
  CheckAll(test::ReadJson("modules/smart_resize.json")["video"], [](const json& c) {
    return SmartResizeVideo(c["num_frames"], {c["height"], c["width"]}, c["factor"], c["temporal_factor"],
                            c["min_pixels"], c["max_pixels"]);
  });
}

struct Vector {
  ImageSize in, out;
};

TEST(SmartResize, RoundsHalvesToEvenAndStretches) {  // released bounds: 65536 to 16777216 pixels
  constexpr Vector kVectors[] = {
      {{32, 32}, {256, 256}},       {{100, 100}, {256, 256}},     {{80, 1000}, {96, 928}},
      {{480, 640}, {480, 640}},     {{720, 1280}, {704, 1280}},   {{1080, 1920}, {1088, 1920}},
      {{1365, 2048}, {1376, 2048}}, {{3000, 4000}, {3008, 4000}}, {{4000, 6000}, {3328, 4992}},
      {{6000, 8000}, {3520, 4704}}, {{33, 6000}, {32, 6016}},     {{10, 2000}, {32, 3648}},
      {{1, 1}, {256, 256}},
  };
  for (const auto& [in, out] : kVectors)
    EXPECT_EQ(SmartResize(in, 32, 65536, 16777216), out) << in.height << "x" << in.width;
}

TEST(SmartResize, SharesThePixelBoundBetweenFrames) {  // released bounds: 4096 to 25165824 pixels
  const auto rule = [](size_t n, ImageSize in) { return SmartResizeVideo(n, in, 32, 2, 4096, 25165824); };
  EXPECT_EQ(rule(8, {720, 1280}), (ImageSize{704, 1280}));
  EXPECT_EQ(rule(20, {1080, 1920}), (ImageSize{832, 1472}));
  EXPECT_EQ(rule(60, {720, 1280}), (ImageSize{480, 832}));
  EXPECT_EQ(rule(768, {1080, 1920}), (ImageSize{128, 224}));
}

TEST(SmartResize, RejectsNonsense) {
  EXPECT_THROW(SmartResize({0, 5}, 32, 1, 1000), Error);
  EXPECT_THROW(SmartResize({5, 0}, 32, 1, 1000), Error);
  EXPECT_THROW(SmartResize({5, 5}, 0, 1, 1000), Error);
  EXPECT_THROW(SmartResize({5, 5}, 32, 0, 0), Error);
  EXPECT_THROW(SmartResizeVideo(4, {64, 64}, 32, 0, 1, 1000), Error);
}

}  // namespace
}  // namespace qwen3vl
