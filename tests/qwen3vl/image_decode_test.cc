// SPDX-License-Identifier: Apache-2.0
// Decoding of whole, sound files: every format and pixel layout against what Pillow 9.4 makes of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ostream>
#include <vector>

#include "qwen3vl/image.h"
#include "support/golden.h"
#include "support/sha256.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using nlohmann::json;

// JPEG decoders round differently; one level a sample is what the format's own precision test allows between
// sound implementations of the transform, and colour conversion may add another.
constexpr int kJpegLevels = 2;

int LargestDifference(const RgbImage& a, const RgbImage& b) {
  if (a.width != b.width || a.height != b.height) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

RgbImage Load(const std::string& relative, const DecodeOptions& options = {}) {
  return LoadImage(test::DataPath(relative), options);
}

TEST(Sha256, KnownDigest) {  // FIPS 180-4 example "abc"
  const std::vector<uint8_t> abc{'a', 'b', 'c'};
  EXPECT_EQ(test::Sha256(abc), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

struct Case {
  std::string folder;
  json entry;  // of images.json or formats.json
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.entry["file"].get<std::string>(); }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const json& e : test::ReadJson("images/images.json")) cases.push_back({"", e});
  for (const json& e : test::ReadJson("images/formats/formats.json")) cases.push_back({"images/formats/", e});
  return cases;
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.entry["file"];
  name = name.substr(name.rfind('/') + 1);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class ImageDecode : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Files, ImageDecode, testing::ValuesIn(Cases()), CaseName);

TEST_P(ImageDecode, GivesThePixelsOfPillow) {
  const auto& [folder, entry] = GetParam();
  const RgbImage image = Load(folder + entry["file"].get<std::string>());
  const auto size = entry.contains("rgb_size_wh") ? entry["rgb_size_wh"] : entry["size_wh"];
  EXPECT_EQ(image.width, size[0].get<size_t>());
  EXPECT_EQ(image.height, size[1].get<size_t>());
  ASSERT_EQ(image.pixels.size(), image.width * image.height * 3);
  if (entry.contains("decoded_png"))
    EXPECT_LE(LargestDifference(image, Load(folder + entry["decoded_png"].get<std::string>())), kJpegLevels);
  else
    EXPECT_EQ(test::Sha256(image.pixels), entry["rgb_sha256"]);
}

TEST_P(ImageDecode, LaysTransparencyOverWhiteOnRequest) {
  const auto& [folder, entry] = GetParam();
  const std::string file = folder + entry["file"].get<std::string>();
  const RgbImage image = Load(file, {.alpha_on_white = true});
  if (entry.contains("over_white_sha256")) {
    EXPECT_EQ(test::Sha256(image.pixels), entry["over_white_sha256"]);
  } else if (entry.value("stored_mode", "") == "RGBA") {  // its pixels over white were not recorded
    EXPECT_NE(image.pixels, Load(file).pixels);
  } else {  // opaque: nothing changes
    EXPECT_EQ(image.pixels, Load(file).pixels);
  }
}

TEST(EncodePng, SurvivesTheRoundTrip) {
  const RgbImage image = Load("images/photo_97x181.png");
  const std::vector<uint8_t> file = EncodePng(image);
  EXPECT_EQ(DecodeImage(file, "round trip").pixels, image.pixels);
}

TEST(EncodePng, RejectsAPictureThatContradictsItself) {
  EXPECT_THROW(EncodePng({4, 4, std::vector<uint8_t>(47)}), Error);
  EXPECT_THROW(EncodePng({0, 4, {}}), Error);
}

TEST(LoadImage, NamesAMissingFile) {
  const test::TempDir folder;
  try {
    LoadImage(folder.File("nothing.png"));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNotFound);
    EXPECT_NE(std::string(e.what()).find("nothing.png"), std::string::npos);
  }
}

}  // namespace
}  // namespace qwen3vl
