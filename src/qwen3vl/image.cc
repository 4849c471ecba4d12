// SPDX-License-Identifier: Apache-2.0
// Which codec reads a file, and what happens to its pixels afterwards: transparency, orientation.
#include "qwen3vl/image.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "hw/checked.h"
#include "hw/mapped_file.h"
#include "qwen3vl/image_codecs.h"
#include "qwen3vl/image_orientation.h"

namespace qwen3vl {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;  // as the command takes from a pipe

struct Format {
  std::string_view magic;
  size_t offset;                                // of the magic bytes
  DecodedImage (*decode)(const EncodedImage&);  // null: known, but not read here
  const char* name;
};

constexpr Format kFormats[] = {
    {std::string_view("\xFF\xD8\xFF", 3), 0, DecodeJpeg, "JPEG"},
    {std::string_view("\x89PNG\r\n\x1A\n", 8), 0, DecodePng, "PNG"},
    {std::string_view("WEBP", 4), 8, DecodeWebp, "WebP"},
    {std::string_view("GIF87a", 6), 0, DecodeGif, "GIF"},
    {std::string_view("GIF89a", 6), 0, DecodeGif, "GIF"},
    {std::string_view("BM", 2), 0, DecodeBmp, "BMP"},
    {std::string_view("II*\0", 4), 0, nullptr, "TIFF"},
    {std::string_view("MM\0*", 4), 0, nullptr, "TIFF"},
    {std::string_view("ftyp", 4), 4, nullptr, "HEIF, AVIF or video"},
    {std::string_view("%PDF", 4), 0, nullptr, "PDF"},
    {std::string_view("<svg", 4), 0, nullptr, "SVG"},
};

const Format* FindFormat(std::span<const uint8_t> file) {
  for (const Format& f : kFormats) {
    if (file.size() >= f.offset + f.magic.size() &&
        std::memcmp(file.data() + f.offset, f.magic.data(), f.magic.size()) == 0)
      return &f;
  }
  return nullptr;
}

std::string FirstBytes(std::span<const uint8_t> file) {
  std::string text;
  for (uint8_t byte : file.first(std::min<size_t>(file.size(), 8))) {
    char hex[4];
    std::snprintf(hex, sizeof hex, " %02x", byte);
    text += hex;
  }
  return text;
}

// Lays an RGBA picture over white, with Pillow's rounding of x / 255.
void LayOverWhite(DecodedImage& image) {
  const size_t n_pixels = image.width * image.height;
  uint8_t* pixels = image.pixels.data();
  for (size_t i = 0; i < n_pixels; ++i) {
    const unsigned alpha = pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const unsigned sum = pixels[4 * i + c] * alpha + 255 * (255 - alpha) + 128;
      pixels[3 * i + c] = static_cast<uint8_t>((sum + (sum >> 8)) >> 8);
    }
  }
  image.channels = 3;
  image.pixels.resize(3 * n_pixels);
}

}  // namespace

Palette GreyPalette() {
  Palette palette;
  for (size_t i = 0; i < palette.size(); ++i) {
    const auto level = static_cast<uint8_t>(i);
    palette[i] = {level, level, level, 255};
  }
  return palette;
}

void CheckPixels(const EncodedImage& in, size_t width, size_t height) {
  const std::string size = std::to_string(width) + "x" + std::to_string(height);
  if (width == 0 || height == 0)
    throw Error(ErrorCode::kCorruptFile, in.name + ": picture of " + size + " pixels, want at least 1x1");
  if (width > in.max_pixels / height)
    throw Error(ErrorCode::kUnsupported, in.name + ": picture of " + size + " pixels exceeds the limit of " +
                                             std::to_string(in.max_pixels) +
                                             " pixels: make it smaller or raise the limit (--max-pixels)");
}

DecodedImage BlankImage(const EncodedImage& in, size_t width, size_t height, size_t channels) {
  CheckPixels(in, width, height);
  DecodedImage image{width, height, channels, {}, 1};
  image.pixels.resize(hw::CheckedProduct({width, height, channels}, in.name.c_str()));
  return image;
}

Error CorruptImage(const EncodedImage& in, const char* format, const std::string& detail) {
  return Error(ErrorCode::kCorruptFile, in.name + ": damaged " + format + " file: " + detail);
}

bool IsImage(std::span<const uint8_t> file) {
  const Format* format = FindFormat(file);
  return format && format->decode;
}

RgbImage DecodeImage(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options) {
  if (file.empty())
    throw Error(ErrorCode::kCorruptFile, name + ": empty file, want a JPEG, PNG, WebP, GIF or BMP picture");
  const Format* format = FindFormat(file);
  if (!format)
    throw Error(ErrorCode::kCorruptFile, name + ": not a JPEG, PNG, WebP, GIF or BMP picture (" +
                                             std::to_string(file.size()) + " bytes, beginning with" +
                                             FirstBytes(file) + ")");
  if (!format->decode)
    throw Error(ErrorCode::kUnsupported, name + ": looks like a " + format->name +
                                             " file: convert it to JPEG, PNG, WebP, GIF or BMP first");
  DecodedImage image = format->decode({file, name, options.alpha_on_white, options.max_pixels});
  if (image.channels == 4) LayOverWhite(image);
  return ApplyOrientation({image.width, image.height, std::move(image.pixels)}, image.orientation);
}

RgbImage LoadImage(const std::string& path, const DecodeOptions& options) {
  return DecodeImage(hw::ReadWholeFile(path, kMaxFileBytes), path, options);
}

}  // namespace qwen3vl
