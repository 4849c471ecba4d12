// SPDX-License-Identifier: Apache-2.0
// What lies behind DecodeImage: one function per file format. Each reads from memory only, prints nothing,
// and throws Error(kCorruptFile) for a damaged or truncated file, kUnsupported for a valid one beyond its
// means.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "qwen3vl/error.h"

namespace qwen3vl {

// One file to decode.
struct EncodedImage {
  std::span<const uint8_t> bytes;
  std::string name;         // for messages
  bool keep_alpha = false;  // false: hand back RGB without looking at transparency
  size_t max_pixels = 0;
};

// Not yet turned upright.
struct DecodedImage {
  size_t width = 0;
  size_t height = 0;
  size_t channels = 3;          // 3: RGB, 4: RGBA, not premultiplied
  std::vector<uint8_t> pixels;  // [height, width, channels]
  int orientation = 1;          // EXIF 0x0112, 1..8
};

DecodedImage DecodeJpeg(const EncodedImage& in);
DecodedImage DecodePng(const EncodedImage& in);
DecodedImage DecodeWebp(const EncodedImage& in);
DecodedImage DecodeGif(const EncodedImage& in);
DecodedImage DecodeBmp(const EncodedImage& in);

// RGBA of every index of a palette picture; indices that the file gives no colour to are grey, as in Pillow.
using Palette = std::array<std::array<uint8_t, 4>, 256>;
Palette GreyPalette();

// Throws Error(kUnsupported) when a picture of this size has more than in.max_pixels pixels, kCorruptFile
// when it has none. For the numbers of the header, before anything is decoded.
void CheckPixels(const EncodedImage& in, size_t width, size_t height);
// The same, then a picture of that size, all zero.
DecodedImage BlankImage(const EncodedImage& in, size_t width, size_t height, size_t channels);

// Error(kCorruptFile): "photo.jpg: damaged JPEG file: <detail>".
Error CorruptImage(const EncodedImage& in, const char* format, const std::string& detail);

}  // namespace qwen3vl
