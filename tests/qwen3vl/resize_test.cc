// SPDX-License-Identifier: Apache-2.0
// That both kinds of resizing match the references is shown in patches_test.cc on the recorded pictures;
// here: that instruction set and thread count change nothing, and the edges.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "qwen3vl/image.h"
#include "support/isa.h"
#include "support/seeded.h"

namespace qwen3vl {
namespace {

RgbImage Noise(size_t width, size_t height) {
  RgbImage image{width, height, std::vector<uint8_t>(width * height * 3)};
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<uint8_t>(test::SeededBits(width * 1000 + height, i));
  return image;
}

// Pillow's arithmetic as the specification writes it, one sample at a time: along x or along y.
RgbImage Literal(const RgbImage& in, size_t out_size, bool along_x) {
  const size_t in_size = along_x ? in.width : in.height;
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size), s = std::max(scale, 1.0);
  RgbImage out{along_x ? out_size : in.width, along_x ? in.height : out_size, {}};
  out.pixels.resize(out.width * out.height * 3);
  const auto cubic = [](double x) {
    x = std::fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0.0;
  };
  for (size_t i = 0; i < out_size; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int lo = std::max(static_cast<int>(centre - 2 * s + 0.5), 0);
    const int hi = std::min(static_cast<int>(centre + 2 * s + 0.5), static_cast<int>(in_size));
    std::vector<double> w;
    double sum = 0;
    for (int k = lo; k < hi; ++k) {
      w.push_back(cubic((k - centre + 0.5) * (1 / s)));
      sum += w.back();
    }
    for (size_t line = 0; line < (along_x ? in.height : in.width); ++line)
      for (size_t c = 0; c < 3; ++c) {
        int64_t total = 1 << 21;
        for (int k = lo; k < hi; ++k) {
          const size_t x = along_x ? static_cast<size_t>(k) : line,
                       y = along_x ? line : static_cast<size_t>(k);
          total += std::llround(w[static_cast<size_t>(k - lo)] / sum * (1 << 22)) *
                   in.pixels[(y * in.width + x) * 3 + c];
        }
        const size_t x = along_x ? i : line, y = along_x ? line : i;
        out.pixels[(y * out.width + x) * 3 + c] =
            static_cast<uint8_t>(std::clamp<int64_t>(total >> 22, 0, 255));
      }
  }
  return out;
}

struct Case {
  ImageSize in, out;
};
// Shrinking, growing, one side only, sizes around the sixteen rows that are transposed together, single
// pixels.
constexpr Case kCases[] = {{{40, 50}, {32, 32}},  {{17, 31}, {64, 96}}, {{16, 33}, {16, 64}},
                           {{15, 64}, {32, 64}},  {{1, 1}, {256, 256}}, {{1, 190}, {32, 256}},
                           {{300, 3}, {288, 32}}, {{65, 200}, {1, 1}}};

TEST(ResizeBicubic, EqualsTheLiteralFormulaOnEveryIsaAndThreadCount) {
  for (const auto& [in, out] : kCases) {
    const RgbImage image = Noise(in.width, in.height);
    RgbImage want = in.width == out.width ? image : Literal(image, out.width, /*along_x=*/true);
    if (in.height != out.height) want = Literal(want, out.height, /*along_x=*/false);
    test::OnEveryIsa([&] {
      for (size_t threads : {1, 3})
        EXPECT_EQ(ResizeBicubic(image, out, {threads}).pixels, want.pixels)
            << in.height << "x" << in.width << ", threads " << threads;
    });
  }
}

TEST(ResizeBicubicFloat, IsTheSameOnEveryIsaAndThreadCount) {
  for (const auto& [in, out] : kCases) {
    const RgbImage image = Noise(in.width, in.height);
    const RgbImage want = ResizeBicubicFloat(image, out, {1});
    EXPECT_EQ(want.pixels.size(), out.height * out.width * 3);
    test::OnEveryIsa([&] { EXPECT_EQ(ResizeBicubicFloat(image, out, {2}).pixels, want.pixels); });
  }
}

TEST(ResizeBicubic, KeepsAFlatPictureFlat) {  // the weights of every sample add up to one
  RgbImage image{37, 29, std::vector<uint8_t>(37 * 29 * 3, 200)};
  for (uint8_t v : ResizeBicubic(image, {64, 96}, {1}).pixels) ASSERT_EQ(v, 200);
  for (uint8_t v : ResizeBicubicFloat(image, {64, 96}, {1}).pixels) ASSERT_EQ(v, 200);
}

TEST(ResizeBicubic, RejectsEmptyAndContradictoryPictures) {
  EXPECT_THROW(ResizeBicubic({0, 0, {}}, {32, 32}, {1}), Error);
  EXPECT_THROW(ResizeBicubic(Noise(4, 4), {0, 32}, {1}), Error);
  EXPECT_THROW(ResizeBicubicFloat({4, 4, std::vector<uint8_t>(47)}, {32, 32}, {1}), Error);
}

}  // namespace
}  // namespace qwen3vl
