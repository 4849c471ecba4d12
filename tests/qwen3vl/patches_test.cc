// SPDX-License-Identifier: Apache-2.0
// Pictures and clips to patches against the recordings of the reference processor: exact, to the last bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "qwen3vl/image.h"
#include "support/golden.h"
#include "support/sha256.h"

namespace qwen3vl {
namespace {

using nlohmann::json;

struct Case {
  json entry;  // of preprocess.json
  PreprocessConfig config;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.entry["file"].get<std::string>(); }

std::vector<Case> Cases() {
  const json all = test::ReadJson("preprocess/preprocess.json");
  std::vector<Case> cases;
  for (const json& e : all["entries"]) {
    const json& size = all["configs"][e["config"].get<std::string>()]["size"];
    PreprocessConfig config;
    config.image_min_pixels = size["shortest_edge"];
    config.image_max_pixels = size["longest_edge"];
    config.video_min_pixels = all["video_size"]["shortest_edge"];
    config.video_max_pixels = all["video_size"]["longest_edge"];
    cases.push_back({e, config});
  }
  return cases;
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.entry["file"];
  name = name.substr(name.find('/') + 1, name.rfind('.') - name.find('/') - 1);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

// JPEG files by their recorded pixels, so that the decoder's rounding plays no part.
std::vector<RgbImage> LoadAll(const json& files) {
  std::vector<RgbImage> images;
  for (std::string file : files) {
    if (const size_t dot = file.rfind(".jpg"); dot != std::string::npos)
      file = file.substr(0, dot) + ".decoded.png";
    images.push_back(LoadImage(test::DataPath(file)));
  }
  return images;
}

class GoldenPatches : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Preprocess, GoldenPatches, testing::ValuesIn(Cases()), CaseName);

TEST_P(GoldenPatches, AreExact) {
  const auto& [entry, config] = GetParam();
  const std::vector<RgbImage> images = LoadAll(entry["images"]);
  const Patches found = entry["kind"] == "video" ? PatchesOfVideo(images, VisionConfig(), config, {2})
                                                 : PatchesOfImage(images[0], VisionConfig(), config, {2});
  EXPECT_EQ(found.grid, (rope::Grid{entry["grid_thw"][0], entry["grid_thw"][1], entry["grid_thw"][2]}));
  EXPECT_EQ(found.resized, (ImageSize{entry["resized_hw"][0], entry["resized_hw"][1]}));

  EXPECT_EQ(test::Sha256({reinterpret_cast<const uint8_t*>(found.values.data()), found.values.bytes()}),
            entry["pixel_values_f32_sha256"]);
  const std::string path = entry["file"];
  if (!test::DataExists(path)) return;  // the hash has said it all; the file would show where
  const test::GoldenFile file(path);
  const std::string& levels = file["pixel_u8"].bytes;
  const std::vector<float> table = file["pixel_lut"].Floats();  // [3, 256]
  ASSERT_EQ(found.values.size(), levels.size());
  for (size_t i = 0; i < levels.size(); ++i)
    ASSERT_EQ(found.values[i], table[i % 1536 / 512 * 256 + static_cast<uint8_t>(levels[i])]) << i;
}

TEST_P(GoldenPatches, ComeFromExactlyResizedPictures) {
  const auto& [entry, config] = GetParam();
  const ImageSize size{entry["resized_hw"][0], entry["resized_hw"][1]};
  std::vector<uint8_t> pixels;
  for (const RgbImage& image : LoadAll(entry["images"])) {
    const RgbImage resized =
        entry["kind"] == "video" ? ResizeBicubicFloat(image, size, {1}) : ResizeBicubic(image, size, {1});
    pixels.insert(pixels.end(), resized.pixels.begin(), resized.pixels.end());
  }
  EXPECT_EQ(test::Sha256(pixels), entry["resized_u8_sha256"]);
}

// A picture whose every pixel says where it is.
RgbImage Coordinates(size_t width, size_t height, uint8_t third) {
  RgbImage image{width, height, {}};
  for (size_t y = 0; y < height; ++y)
    for (size_t x = 0; x < width; ++x)
      for (size_t v : {x, y, size_t{third}}) image.pixels.push_back(static_cast<uint8_t>(v));
  return image;
}

uint8_t Level(float value) { return static_cast<uint8_t>(value * 127.5f + 127.5f + 0.5f); }

TEST(Patches, StandInMergeBlocksWithGroupsOutermost) {
  PreprocessConfig config;
  config.video_min_pixels = 1;
  std::vector<RgbImage> frames;
  for (uint8_t i = 0; i < 3; ++i) frames.push_back(Coordinates(64, 32, i));
  const Patches p = PatchesOfVideo(frames, VisionConfig(), config, {1});
  EXPECT_EQ(p.grid, (rope::Grid{2, 2, 4}));
  const auto at = [&](size_t patch, size_t channel, size_t slot, size_t y, size_t x) {
    return Level(p.values[patch * 1536 + ((channel * 2 + slot) * 16 + y) * 16 + x]);
  };
  EXPECT_EQ(at(0, 0, 0, 3, 5), 5);       // patch row 0, column 0
  EXPECT_EQ(at(1, 0, 0, 3, 5), 16 + 5);  // column 1 of the same block
  EXPECT_EQ(at(2, 1, 0, 3, 5), 16 + 3);  // row 1 of the same block
  EXPECT_EQ(at(4, 0, 0, 3, 5), 32 + 5);  // next block
  EXPECT_EQ(at(7, 1, 1, 15, 15), 31);    // last patch of the group
  EXPECT_EQ(at(0, 2, 0, 0, 0), 0);       // frame 0 in slot 0
  EXPECT_EQ(at(0, 2, 1, 0, 0), 1);       // frame 1 in slot 1
  EXPECT_EQ(at(8, 2, 0, 0, 0), 2);       // frame 2 in the next group,
  EXPECT_EQ(at(8, 2, 1, 0, 0), 2);       // and again, because it is the last one
}

TEST(Patches, OfASinglePixel) {
  const Patches p = PatchesOfImage({1, 1, {255, 0, 51}}, VisionConfig(), PreprocessConfig(), {1});
  EXPECT_EQ(p.resized, (ImageSize{256, 256}));
  EXPECT_EQ(p.grid, (rope::Grid{1, 16, 16}));
  for (size_t i = 0; i < p.values.size(); ++i)
    ASSERT_EQ(Level(p.values[i]), (std::array{255, 0, 51})[i % 1536 / 512]) << i;
}

TEST(Patches, OfAClipOfOneFrameRepeatIt) {
  const RgbImage frame = Coordinates(64, 64, 9);
  const Patches p = PatchesOfVideo(std::vector<RgbImage>{frame}, VisionConfig(), PreprocessConfig(), {1});
  EXPECT_EQ(p.grid, (rope::Grid{1, 4, 4}));
}

TEST(Patches,
     OfATinyClipEnlargeIt) {  // both sides by the same factor until the shorter one holds a merge block
  const RgbImage frame = Coordinates(40, 20, 9);
  const Patches p =
      PatchesOfVideo(std::vector<RgbImage>{frame, frame}, VisionConfig(), PreprocessConfig(), {1});
  EXPECT_EQ(p.resized, (ImageSize{32, 64}));
}

// What a bad picture or clip is told.
template <class Call>
std::string Complaint(const Call& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    return e.what();
  }
  return "no error";
}

TEST(Patches, RefuseExtremeShapes) {
  const auto shape = [](size_t w, size_t h) {
    return Complaint([&] { PatchesOfImage(Coordinates(w, h, 0), VisionConfig(), PreprocessConfig(), {1}); });
  };
  EXPECT_NE(shape(1, 20000).find("1x20000"), std::string::npos);
  EXPECT_NE(shape(20000, 1).find("200 times"), std::string::npos);
  EXPECT_NE(shape(0, 0).find("0x0"), std::string::npos);
}

TEST(Patches, RefuseClipsOfMixedSizeAndNone) {
  const std::vector<RgbImage> mixed{Coordinates(64, 64, 0), Coordinates(64, 32, 0)};
  const std::string text = Complaint([&] { PatchesOfVideo(mixed, VisionConfig(), PreprocessConfig(), {1}); });
  EXPECT_NE(text.find("frame 1"), std::string::npos) << text;
  EXPECT_NE(text.find("64x32"), std::string::npos) << text;
  EXPECT_NE(Complaint([] {
              PatchesOfVideo(std::vector<RgbImage>{}, VisionConfig(), PreprocessConfig(), {1});
            }).find("0 frames"),
            std::string::npos);
}

}  // namespace
}  // namespace qwen3vl
