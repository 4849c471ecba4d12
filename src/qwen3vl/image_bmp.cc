// SPDX-License-Identifier: Apache-2.0
// BMP: Windows and OS/2 headers; 1, 4, 8, 16, 24 and 32 bits a pixel; run lengths; bit masks; top-down. The
// format is small enough to read here, and no library of the distribution reads all of it.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "hw/checked.h"
#include "qwen3vl/image_codecs.h"

namespace qwen3vl {
namespace {

constexpr uint32_t kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3;

struct Header {
  size_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0;
  uint32_t compression = kRaw;
  std::array<uint32_t, 4> masks{};  // red, green, blue, alpha; 0: absent
  size_t n_colors = 0, color_bytes = 4, palette_at = 0;
  size_t pixels_at = 0;

  // Of a raw row, which ends on a multiple of four bytes.
  size_t row_bytes() const {
    return hw::CheckedAdd(hw::CheckedMul(width, bits, "BMP row"), 31, "BMP row") / 32 * 4;
  }
};

// Little-endian numbers of the file; throws past its end.
class Reader {
 public:
  explicit Reader(const EncodedImage& in) : in_(in) {}

  uint32_t Number(size_t offset, size_t n_bytes) const {
    const auto bytes = Bytes(offset, n_bytes);
    uint32_t value = 0;
    for (size_t i = n_bytes; i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }
  uint32_t U16(size_t offset) const { return Number(offset, 2); }
  uint32_t U32(size_t offset) const { return Number(offset, 4); }
  std::span<const uint8_t> Bytes(size_t offset, size_t n) const {
    if (offset > in_.bytes.size() || in_.bytes.size() - offset < n) throw Corrupt("it ends too soon");
    return in_.bytes.subspan(offset, n);
  }
  Error Corrupt(const std::string& detail) const { return CorruptImage(in_, "BMP", detail); }
  Error Unsupported(const std::string& detail) const {
    return Error(ErrorCode::kUnsupported,
                 in_.name + ": BMP file with " + detail + ": convert it to PNG first");
  }

 private:
  const EncodedImage& in_;
};

void ReadMasks(const Reader& file, size_t info_bytes, Header& h) {
  if (h.compression == kBitFields) {
    // After a 40-byte header come three masks; longer headers contain them, from 56 bytes on with alpha.
    for (size_t c = 0; c < (info_bytes >= 56 ? 4 : 3); ++c) h.masks[c] = file.U32(14 + 40 + 4 * c);
    if (info_bytes == 40) h.palette_at += 12;
  }
  if (h.masks == std::array<uint32_t, 4>{}) {
    if (h.bits == 16)
      h.masks = {0x7C00, 0x3E0, 0x1F, 0};
    else
      h.masks = {0xFF0000, 0xFF00, 0xFF, 0};
  }
}

Header ReadHeader(const Reader& file) {
  Header h;
  const size_t info_bytes = file.U32(14);
  h.pixels_at = file.U32(10);
  h.palette_at = hw::CheckedAdd(14, info_bytes, "BMP header");
  if (info_bytes == 12) {
    h.width = file.U16(18), h.height = file.U16(20), h.bits = file.U16(24);
    h.color_bytes = 3;
  } else if (info_bytes >= 40 && info_bytes <= 124) {
    const int64_t height = static_cast<int32_t>(file.U32(22));
    h.width = file.U32(18), h.height = static_cast<size_t>(std::abs(height)), h.top_down = height < 0;
    h.bits = file.U16(28), h.compression = file.U32(30), h.n_colors = file.U32(46);
  } else {
    throw file.Corrupt("header of " + std::to_string(info_bytes) + " bytes, want 12 or 40 to 124");
  }
  ReadMasks(file, info_bytes, h);
  if (h.bits <= 8 && (h.n_colors == 0 || h.n_colors > (size_t{1} << h.bits)))
    h.n_colors = size_t{1} << h.bits;
  return h;
}

void CheckDepth(const Reader& file, const Header& h) {
  const auto depth_is = [&](std::initializer_list<uint32_t> depths) {
    return std::find(depths.begin(), depths.end(), h.bits) != depths.end();
  };
  const bool ok = h.compression == kRaw         ? depth_is({1, 4, 8, 16, 24, 32})
                  : h.compression == kRle8      ? h.bits == 8
                  : h.compression == kRle4      ? h.bits == 4
                  : h.compression == kBitFields ? depth_is({16, 24, 32})
                                                : false;
  if (!ok)
    throw file.Unsupported(std::to_string(h.bits) + " bits a pixel and compression " +
                           std::to_string(h.compression));
}

Palette ReadPalette(const Reader& file, const Header& h) {
  Palette palette = GreyPalette();
  const auto bytes = file.Bytes(h.palette_at, h.n_colors * h.color_bytes);
  for (size_t i = 0; i < h.n_colors; ++i) {
    const uint8_t* bgr = bytes.data() + i * h.color_bytes;
    palette[i] = {bgr[2], bgr[1], bgr[0], 255};
  }
  return palette;
}

// Fills a picture row by row in the file's order, which is bottom-up unless the header says otherwise.
class Canvas {
 public:
  Canvas(DecodedImage& image, bool top_down) : image_(image), top_down_(top_down) {}

  uint8_t* Row(size_t file_row) {
    const size_t y = top_down_ ? file_row : image_.height - 1 - file_row;
    return image_.pixels.data() + y * image_.width * image_.channels;
  }
  void Put(size_t x, size_t file_row, const std::array<uint8_t, 4>& rgba) {
    std::copy_n(rgba.data(), image_.channels, Row(file_row) + x * image_.channels);
  }

 private:
  DecodedImage& image_;
  bool top_down_;
};

// One colour of a masked pixel, stretched to 8 bits, rounded down.
uint8_t Masked(uint32_t value, uint32_t mask) {
  const int shift = std::countr_zero(mask);
  return static_cast<uint8_t>(uint64_t{(value & mask) >> shift} * 255 / (mask >> shift));
}

void ReadIndexedRow(std::span<const uint8_t> row, const Header& h, const Palette& palette, size_t y,
                    Canvas& canvas) {
  const size_t per_byte = 8 / h.bits;
  for (size_t x = 0; x < h.width; ++x) {
    const size_t shift = 8 - h.bits * (x % per_byte + 1);
    canvas.Put(x, y, palette[row[x / per_byte] >> shift & ((1u << h.bits) - 1)]);
  }
}

void ReadMaskedRow(std::span<const uint8_t> row, const Header& h, size_t y, Canvas& canvas) {
  const size_t n_bytes = h.bits / 8;
  for (size_t x = 0; x < h.width; ++x) {
    uint32_t value = 0;
    for (size_t i = n_bytes; i-- > 0;) value = value << 8 | row[x * n_bytes + i];
    std::array<uint8_t, 4> rgba{0, 0, 0, 255};
    for (size_t c = 0; c < 4; ++c)
      if (h.masks[c]) rgba[c] = Masked(value, h.masks[c]);
    canvas.Put(x, y, rgba);
  }
}

void ReadRawRows(const Reader& file, const Header& h, DecodedImage& image) {
  const Palette palette = h.bits <= 8 ? ReadPalette(file, h) : GreyPalette();
  Canvas canvas(image, h.top_down);
  for (size_t y = 0; y < h.height; ++y) {
    const auto row = file.Bytes(h.pixels_at + y * h.row_bytes(), h.row_bytes());
    if (h.bits <= 8)
      ReadIndexedRow(row, h, palette, y, canvas);
    else
      ReadMaskedRow(row, h, y, canvas);
  }
}

// Where a run-length stream writes; ignores what would fall beside the picture.
struct RunCursor {
  Canvas canvas;
  const Palette& palette;
  size_t width, height;
  size_t x = 0, y = 0;

  void Put(uint8_t index) {
    if (x < width && y < height) canvas.Put(x, y, palette[index]);
    ++x;
  }
};

// Indices of a run or a literal: bytes, or nibbles with the high one first.
uint8_t IndexAt(std::span<const uint8_t> bytes, size_t i, bool nibbles) {
  if (!nibbles) return bytes[i];
  return i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4;
}

void ReadRuns(const Reader& file, const Header& h, DecodedImage& image) {
  const bool nibbles = h.compression == kRle4;
  const Palette palette = ReadPalette(file, h);
  RunCursor cursor{Canvas(image, h.top_down), palette, h.width, h.height};
  for (size_t i = 0; i < h.width * h.height; ++i)  // what no run touches has the first colour
    cursor.canvas.Put(i % h.width, i / h.width, palette[0]);
  size_t at = h.pixels_at;
  while (cursor.y < h.height) {
    const auto pair = file.Bytes(at, 2);
    const size_t count = pair[0], code = pair[1];
    at += 2;
    if (count > 0) {
      const uint8_t both[2] = {pair[1], pair[1]};
      for (size_t i = 0; i < count; ++i) cursor.Put(IndexAt(both, i % 2, nibbles));
    } else if (code == 0) {
      cursor.x = 0, ++cursor.y;
      if (cursor.y == h.height) return;
    } else if (code == 1) {
      return;
    } else if (code == 2) {
      const auto jump = file.Bytes(at, 2);
      cursor.x += jump[0], cursor.y += jump[1];
      at += 2;
    } else {
      const size_t n_bytes = nibbles ? (code + 1) / 2 : code;
      const auto literal = file.Bytes(at, n_bytes);
      for (size_t i = 0; i < code; ++i) cursor.Put(IndexAt(literal, i, nibbles));
      at += n_bytes + n_bytes % 2;
    }
    // The last row may lack its end mark.
    if (cursor.y + 1 == h.height && cursor.x >= h.width) return;
  }
}

}  // namespace

DecodedImage DecodeBmp(const EncodedImage& in) {
  const Reader file(in);
  const Header header = ReadHeader(file);
  CheckPixels(in, header.width, header.height);
  CheckDepth(file, header);
  const bool runs = header.compression == kRle8 || header.compression == kRle4;
  // A raw picture is as large as its pixels: look before memory is taken.
  if (!runs) file.Bytes(header.pixels_at, hw::CheckedMul(header.height, header.row_bytes(), "BMP picture"));
  DecodedImage image = BlankImage(in, header.width, header.height, in.keep_alpha ? 4 : 3);
  if (runs)
    ReadRuns(file, header, image);
  else
    ReadRawRows(file, header, image);
  return image;
}

}  // namespace qwen3vl
