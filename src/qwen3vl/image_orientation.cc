// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/image_orientation.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace qwen3vl {
namespace {

// Reads numbers of a TIFF structure; nothing past its end.
class TiffReader {
 public:
  TiffReader(std::span<const uint8_t> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<uint32_t> Number(size_t offset, size_t n_bytes) const {
    if (offset > bytes_.size() || bytes_.size() - offset < n_bytes) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < n_bytes; ++i)
      value = value << 8 | bytes_[offset + (big_endian_ ? i : n_bytes - 1 - i)];
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;

}  // namespace

int ExifOrientation(std::span<const uint8_t> block) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  if (block.size() >= kPrefix.size() && std::memcmp(block.data(), kPrefix.data(), kPrefix.size()) == 0)
    block = block.subspan(kPrefix.size());
  if (block.size() < 8 || block[0] != block[1] || (block[0] != 'I' && block[0] != 'M')) return 1;
  const TiffReader tiff(block, block[0] == 'M');
  if (tiff.Number(2, 2) != 42u) return 1;
  const size_t directory = *tiff.Number(4, 4);
  const uint32_t n_entries = tiff.Number(directory, 2).value_or(0);
  for (uint32_t i = 0; i < n_entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    const auto tag = tiff.Number(entry, 2);
    if (!tag) return 1;
    if (tag != kOrientationTag) continue;
    const auto type = tiff.Number(entry + 2, 2);
    if (type != kShort && type != kLong) return 1;
    const uint32_t value = tiff.Number(entry + 8, type == kShort ? 2 : 4).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

RgbImage ApplyOrientation(RgbImage image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Upright pixel (x, y) is stored pixel (x, y), with x and y exchanged from 5 on, then counted from the far
  // side of the stored picture where it says so.
  const bool exchange = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbImage out{exchange ? image.height : image.width, exchange ? image.width : image.height, {}};
  out.pixels.resize(image.pixels.size());
  uint8_t* to = out.pixels.data();
  for (size_t y = 0; y < out.height; ++y) {
    for (size_t x = 0; x < out.width; ++x, to += 3) {
      size_t from_x = exchange ? y : x, from_y = exchange ? x : y;
      if (from_right) from_x = image.width - 1 - from_x;
      if (from_bottom) from_y = image.height - 1 - from_y;
      std::copy_n(image.pixels.data() + (from_y * image.width + from_x) * 3, 3, to);
    }
  }
  return out;
}

}  // namespace qwen3vl
