// SPDX-License-Identifier: Apache-2.0
// Files that are empty, cut, oversized or damaged: one clear error, no crash, nothing on stderr. Run under
// the address sanitizer these also show that nothing leaks on the way out.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "qwen3vl/image.h"
#include "qwen3vl/image_orientation.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/seeded.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Fixture(const std::string& name) {
  const std::string text = test::ReadFile(test::DataPath("images/formats/" + name));
  return {text.begin(), text.end()};
}

struct Outcome {
  bool failed = false;
  ErrorCode code{};
  std::string text;
};

Outcome Decode(const Bytes& file, const DecodeOptions& options = {}) {
  try {
    DecodeImage(file, "some.file", options);
    return {};
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("some.file"), std::string::npos) << e.what();
    return {true, e.code(), e.what()};
  }
}

Bytes BytesOf(std::string_view text) { return {text.begin(), text.end()}; }

TEST(BadImage, Empty) {
  EXPECT_EQ(Decode({}).code, ErrorCode::kCorruptFile);
  const test::TempDir folder;
  EXPECT_THROW(LoadImage(folder.Write("empty.png", "")), Error);
}

// A program that rewrites its picture in place must not end this one: a mapping would (SIGBUS).
TEST(BadImage, CutShortWhileItIsRead) {
  const test::TempDir folder;
  RgbImage noise{.width = 512, .height = 512, .pixels = std::vector<uint8_t>(3 * 512 * 512)};
  for (size_t i = 0; i < noise.pixels.size(); ++i)  // so that the file has many pages
    noise.pixels[i] = static_cast<uint8_t>((i * 2654435761u) >> 20);
  const std::vector<uint8_t> png = EncodePng(noise);
  const std::string bytes(png.begin(), png.end()), path = folder.Write("picture.png", bytes);
  std::atomic<bool> done = false;
  std::thread rewriter([&] {
    while (!done) folder.Write("picture.png", bytes);
  });
  for (int i = 0; i < 50; ++i) {
    try {
      EXPECT_EQ(LoadImage(path).pixels, noise.pixels);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kCorruptFile) << e.what();
    }
  }
  done = true;
  rewriter.join();
}

TEST(BadImage, LargerThanAnyPicture) {
  const test::TempDir folder;
  const std::string path = folder.Write("disk.img", "x");
  std::filesystem::resize_file(path, (uintmax_t{1} << 30) + 1);  // of holes
  EXPECT_ERROR(ErrorCode::kUnsupported, "disk.img: more than 1073741824 bytes", LoadImage(path));
}

TEST(BadImage, Garbage) {
  for (std::string_view text : {"x", "hello, this is text", "RIFF1234WAVE", "GIF90a", "\x89PNG\r\n"})
    EXPECT_EQ(Decode(BytesOf(text)).code, ErrorCode::kCorruptFile) << text;
}

TEST(BadImage, KnownButNotRead) {
  const Outcome tiff = Decode(BytesOf(std::string_view("II*\0rest", 8)));
  EXPECT_EQ(tiff.code, ErrorCode::kUnsupported);
  EXPECT_NE(tiff.text.find("TIFF"), std::string::npos);
  EXPECT_EQ(Decode(BytesOf(std::string_view("\0\0\0\x18"
                                            "ftypheic",
                                            12)))
                .code,
            ErrorCode::kUnsupported);
}

// One file of each codec; what is cut off its end may be this long before it is missed.
struct Sample {
  const char* file;
  size_t spare;
};
constexpr Sample kSamples[] = {
    {"restart.jpg", 2},  // the end mark
    {"progressive_420.jpg", 0},
    {"cmyk.jpg", 2},
    {"rgba8.png", 16},  // checksum of the pixels, end chunk
    {"rgb8_interlaced.png", 16},
    {"grey16.png", 16},
    {"lossy.webp", 0},
    {"lossless_alpha.webp", 0},
    {"animated.webp", 0},
    {"interlaced.gif", 3},  // end of block, of codes and of file
    {"rgb24.bmp", 0},
    {"palette4.bmp", 0},
    {"rle8.bmp", 2},
    {"rle4.bmp", 2},
};

TEST(BadImage, CutAnywhere) {
  for (const auto& [name, spare] : kSamples) {
    const Bytes whole = Fixture(name);
    ASSERT_FALSE(Decode(whole).failed) << name << ": " << Decode(whole).text;
    for (size_t size = 0; size + spare < whole.size(); ++size) {
      const Outcome o = Decode({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)});
      ASSERT_TRUE(o.failed) << name << " cut to " << size << " of " << whole.size();
      ASSERT_EQ(o.code, ErrorCode::kCorruptFile) << o.text;
    }
  }
}

TEST(BadImage, MutatedNeverCrashes) {
  // Files claim absurd sizes now and then; the limit keeps the test small, as it does for users.
  const DecodeOptions small{.max_pixels = 1 << 16}, white{.alpha_on_white = true, .max_pixels = 1 << 16};
  uint64_t seed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::DataPath("images/formats"))) {
    if (entry.path().extension() == ".json") continue;
    const Bytes whole = Fixture(entry.path().filename().string());
    for (size_t round = 0; round < 60; ++round, ++seed) {
      Bytes file = whole;
      const size_t n_changes = 1 + test::SeededBits(seed, 0) % 6;
      for (size_t i = 1; i <= n_changes; ++i) {
        const uint64_t bits = test::SeededBits(seed, i);
        // Half of the changes go to the headers.
        const size_t range = bits & 1 ? std::min<size_t>(file.size(), 64) : file.size();
        file[(bits >> 1) % range] = static_cast<uint8_t>(bits >> 56);
      }
      Decode(file, round % 2 ? small : white);
    }
  }
}

void PutBigEndian(Bytes& file, size_t at, uint32_t value, size_t n_bytes) {
  for (size_t i = 0; i < n_bytes; ++i) file[at + i] = static_cast<uint8_t>(value >> 8 * (n_bytes - 1 - i));
}

uint32_t Crc32(const uint8_t* bytes, size_t n) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < n; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

Bytes PngOfSize(uint32_t width, uint32_t height) {
  Bytes file = Fixture("grey1.png");
  PutBigEndian(file, 16, width, 4);
  PutBigEndian(file, 20, height, 4);
  PutBigEndian(file, 29, Crc32(file.data() + 12, 17), 4);
  return file;
}

Bytes JpegOfSize(uint32_t side) {
  Bytes file = Fixture("grey.jpg");
  for (size_t i = 0; i + 9 < file.size(); ++i) {
    if (file[i] != 0xFF || file[i + 1] != 0xC0) continue;
    PutBigEndian(file, i + 5, side, 2);
    PutBigEndian(file, i + 7, side, 2);
    return file;
  }
  return {};
}

Bytes BmpOfSize(uint32_t side) {
  Bytes file = Fixture("rgb24.bmp");
  for (size_t at : {18, 22})
    for (size_t i = 0; i < 4; ++i) file[at + i] = static_cast<uint8_t>(side >> 8 * i);
  return file;
}

Bytes GifOfSize(uint32_t side) {
  Bytes file = Fixture("no_palette.gif");
  for (size_t at : {6, 8}) {
    file[at] = static_cast<uint8_t>(side);
    file[at + 1] = static_cast<uint8_t>(side >> 8);
  }
  return file;
}

TEST(BadImage, TooLargeIsRefusedBeforeDecoding) {
  for (const Bytes& file : {PngOfSize(30000, 30000), JpegOfSize(30000), BmpOfSize(30000), GifOfSize(30000)}) {
    const Outcome o = Decode(file);
    EXPECT_EQ(o.code, ErrorCode::kUnsupported);
    EXPECT_NE(o.text.find("30000x30000"), std::string::npos) << o.text;
    EXPECT_NE(o.text.find("268435456"), std::string::npos) << o.text;
    EXPECT_NE(o.text.find("--max-pixels"), std::string::npos) << o.text;
  }
  EXPECT_EQ(Decode(PngOfSize(0x7FFFFFFF, 0x7FFFFFFF)).code, ErrorCode::kUnsupported);
  EXPECT_EQ(Decode(Fixture("lossy.webp"), {.max_pixels = 100}).code, ErrorCode::kUnsupported);
  EXPECT_FALSE(Decode(Fixture("lossy.webp"), {.max_pixels = 21 * 13}).failed);
}

TEST(BadImage, ManyScansEnd) {  // a progressive file that repeats a scan over and over
  const Bytes whole = Fixture("progressive_420.jpg");
  size_t scan = 0, end = 0;
  for (size_t i = 0; i + 1 < whole.size(); ++i) {
    if (whole[i] == 0xFF && whole[i + 1] == 0xDA) scan = i;
    if (whole[i] == 0xFF && whole[i + 1] == 0xD9) end = i;
  }
  ASSERT_LT(scan, end);
  Bytes file(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(end));
  for (int i = 0; i < 300; ++i)
    file.insert(file.end(), whole.begin() + static_cast<ptrdiff_t>(scan),
                whole.begin() + static_cast<ptrdiff_t>(end));
  file.insert(file.end(), {0xFF, 0xD9});
  const Outcome o = Decode(file);
  EXPECT_EQ(o.code, ErrorCode::kCorruptFile);
  EXPECT_NE(o.text.find("scans"), std::string::npos) << o.text;
}

TEST(BadImage, NothingOnStderr) {
  testing::internal::CaptureStderr();
  for (const auto& [name, spare] : kSamples) {
    Bytes file = Fixture(name);
    for (size_t i = file.size() / 2; i < file.size(); i += 7) file[i] ^= 0x55;
    Decode(file, {.max_pixels = 1 << 16});
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Orientation, DamagedExifMeansUpright) {
  const Bytes sound{'E', 'x', 'i',  'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,
                    1,   0,   0x12, 1,   3, 0, 1,   0,   0,  0, 6, 0, 0, 0};
  EXPECT_EQ(ExifOrientation(sound), 6);
  EXPECT_EQ(ExifOrientation(std::span(sound).subspan(6)), 6);  // PNG and WebP store it without the prefix
  for (size_t n = 0; n < 26; ++n) EXPECT_EQ(ExifOrientation(std::span(sound).first(n)), 1) << n;
  for (size_t i = 0; i < sound.size(); ++i)
    for (int value = 0; value < 256; ++value) {
      Bytes changed = sound;
      changed[i] = static_cast<uint8_t>(value);
      const int found = ExifOrientation(changed);
      EXPECT_GE(found, 1);
      EXPECT_LE(found, 8);
    }
  const Bytes far{'M', 'M', 0, 42, 0xFF, 0xFF, 0xFF, 0xF0, 0, 0};
  EXPECT_EQ(ExifOrientation(far), 1);
}

}  // namespace
}  // namespace qwen3vl
