// SPDX-License-Identifier: Apache-2.0
// GIF through giflib: the first frame, placed on the logical screen as Pillow does.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "qwen3vl/image_codecs.h"

namespace qwen3vl {
namespace {

struct Close {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, Close>;

int ReadBytes(GifFileType* gif, GifByteType* to, int n) {
  auto& rest = *static_cast<std::span<const uint8_t>*>(gif->UserData);
  const size_t n_bytes = std::min(rest.size(), static_cast<size_t>(n));
  if (n_bytes) std::memcpy(to, rest.data(), n_bytes);
  rest = rest.subspan(n_bytes);
  return static_cast<int>(n_bytes);
}

void Check(const EncodedImage& in, const GifFileType* gif, int status) {
  if (status == GIF_OK) return;
  const char* text = GifErrorString(gif->Error);
  throw CorruptImage(in, "GIF", text ? text : "it cannot be decoded");
}

// Skips to the first frame's pixels. Returns the index of its transparent colour, if it has one.
std::optional<uint8_t> SeekFirstFrame(const EncodedImage& in, GifFileType* gif) {
  std::optional<uint8_t> transparent;
  for (;;) {
    GifRecordType record;
    Check(in, gif, DGifGetRecordType(gif, &record));
    if (record == IMAGE_DESC_RECORD_TYPE) {
      Check(in, gif, DGifGetImageDesc(gif));
      return transparent;
    }
    if (record == TERMINATE_RECORD_TYPE) throw CorruptImage(in, "GIF", "it holds no picture");
    int kind = 0;
    GifByteType* block = nullptr;
    Check(in, gif, DGifGetExtension(gif, &kind, &block));
    GraphicsControlBlock control;
    if (kind == GRAPHICS_EXT_FUNC_CODE && block &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK &&
        control.TransparentColor != NO_TRANSPARENT_COLOR)
      transparent = static_cast<uint8_t>(control.TransparentColor);
    while (block) Check(in, gif, DGifGetExtensionNext(gif, &block));
  }
}

// The frame's own palette, else the file's, else grey.
Palette PaletteOf(const GifFileType* gif, std::optional<uint8_t> transparent) {
  Palette palette = GreyPalette();
  const ColorMapObject* map = gif->Image.ColorMap ? gif->Image.ColorMap : gif->SColorMap;
  for (int i = 0; map && i < std::min(map->ColorCount, 256); ++i)
    palette[i] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue, 255};
  if (transparent) palette[*transparent][3] = 0;
  return palette;
}

// Row numbers in the order in which an interlaced frame stores them.
std::vector<size_t> RowOrder(size_t height, bool interlaced) {
  constexpr size_t kPasses[][2] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};  // first row, step
  std::vector<size_t> order;
  order.reserve(height);
  if (!interlaced)
    for (size_t y = 0; y < height; ++y) order.push_back(y);
  else
    for (const auto& [first, step] : kPasses)
      for (size_t y = first; y < height; y += step) order.push_back(y);
  return order;
}

}  // namespace

DecodedImage DecodeGif(const EncodedImage& in) {
  std::span<const uint8_t> rest = in.bytes;
  int error = 0;
  const Gif gif(DGifOpen(&rest, ReadBytes, &error));
  if (!gif) throw CorruptImage(in, "GIF", "its header is incomplete");
  const std::optional<uint8_t> transparent = SeekFirstFrame(in, gif.get());
  const auto x0 = static_cast<size_t>(gif->Image.Left), y0 = static_cast<size_t>(gif->Image.Top);
  const auto width = static_cast<size_t>(gif->Image.Width), height = static_cast<size_t>(gif->Image.Height);
  CheckPixels(in, width, height);
  // A frame that leaves the screen enlarges it.
  DecodedImage image = BlankImage(in, std::max<size_t>(gif->SWidth, x0 + width),
                                  std::max<size_t>(gif->SHeight, y0 + height), in.keep_alpha ? 4 : 3);
  const Palette palette = PaletteOf(gif.get(), transparent);
  const size_t channels = image.channels;
  const auto put = [&](size_t pixel, uint8_t index) {
    std::copy_n(palette[index].data(), channels, image.pixels.data() + pixel * channels);
  };
  const uint8_t background = transparent.value_or(0);
  for (size_t i = 0; i < image.width * image.height; ++i) put(i, background);
  std::vector<uint8_t> row(width);
  for (size_t y : RowOrder(height, gif->Image.Interlace)) {
    Check(in, gif.get(), DGifGetLine(gif.get(), row.data(), static_cast<int>(width)));
    for (size_t x = 0; x < width; ++x) put((y0 + y) * image.width + x0 + x, row[x]);
  }
  return image;
}

}  // namespace qwen3vl
