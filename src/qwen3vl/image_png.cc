// SPDX-License-Identifier: Apache-2.0
// PNG through libpng, both ways. Errors leave the library by longjmp, so that every frame between Guarded()
// and the library holds only trivial objects.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "qwen3vl/image.h"
#include "qwen3vl/image_codecs.h"
#include "qwen3vl/image_orientation.h"

namespace qwen3vl {
namespace {

// State of one reader or writer: everything that must outlive a jump.
struct PngState {
  explicit PngState(bool read) : reading(read) {
    png = read ? png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning)
               : png_create_write_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
      Destroy();
      throw std::bad_alloc();
    }
  }
  ~PngState() { Destroy(); }
  PngState(const PngState&) = delete;
  PngState& operator=(const PngState&) = delete;

  [[noreturn]] static void OnError(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngState*>(png_get_error_ptr(png));
    std::snprintf(self->message, sizeof self->message, "%s", text);
    std::longjmp(self->jump, 1);
  }
  static void OnWarning(png_structp, png_const_charp) {}
  static void OnRead(png_structp png, png_bytep to, size_t n) {
    auto* self = static_cast<PngState*>(png_get_error_ptr(png));
    if (n > self->input.size()) png_error(png, "it ends too soon");
    std::memcpy(to, self->input.data(), n);
    self->input = self->input.subspan(n);
  }
  static void OnWrite(png_structp png, png_bytep from, size_t n) {
    auto* self = static_cast<PngState*>(png_get_error_ptr(png));
    try {
      self->output.insert(self->output.end(), from, from + n);
      return;
    } catch (const std::bad_alloc&) {
    }
    png_error(png, "out of memory");
  }
  void Destroy() {
    if (reading)
      png_destroy_read_struct(&png, &info, nullptr);
    else
      png_destroy_write_struct(&png, &info);
  }

  bool reading;
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf jump;
  char message[256] = "";
  std::span<const uint8_t> input;  // what is still to be read
  std::vector<uint8_t> output;
};

// Runs calls into libpng. False: they failed, and state.message says why.
template <class Calls>
bool Guarded(PngState& state, const Calls& calls) {
  if (setjmp(state.jump)) return false;
  calls();
  return true;
}

// Chunks that can unpack to thousands of times their size and say nothing about the pixels are passed over.
// With them goes an orientation that stands there and not in eXIf (XMP, "Raw profile type exif").
void SkipTexts(png_structp png) {
  constexpr png_byte kNames[] = "iCCP\0iTXt\0sPLT\0tEXt\0zTXt";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kNames, sizeof kNames / 5);
}

// Samples of 8 bits in RGB or RGBA, except 16-bit grey, which stays as it is.
void AskForRgb(PngState& s, bool keep_alpha) {
  const int color = png_get_color_type(s.png, s.info);
  const int depth = png_get_bit_depth(s.png, s.info);
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(s.png);
  if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(s.png);
  if (png_get_valid(s.png, s.info, PNG_INFO_tRNS)) png_set_tRNS_to_alpha(s.png);
  if (depth == 16 && color != PNG_COLOR_TYPE_GRAY) png_set_strip_16(s.png);
  if (!(color & PNG_COLOR_MASK_COLOR) && !(depth == 16 && color == PNG_COLOR_TYPE_GRAY))
    png_set_gray_to_rgb(s.png);
  if (!keep_alpha) png_set_strip_alpha(s.png);
  png_set_interlace_handling(s.png);
  png_read_update_info(s.png, s.info);
}

// The reference reads 16-bit grey as integers and clips them to 255 instead of scaling them. `wide` has 1 or
// 2 big-endian samples a pixel, the second one alpha.
void ClipWideGrey(const std::vector<uint8_t>& wide, size_t samples, DecodedImage& image) {
  const size_t n_pixels = image.width * image.height;
  for (size_t i = 0; i < n_pixels; ++i) {
    const uint8_t* from = wide.data() + 2 * samples * i;
    uint8_t* to = image.pixels.data() + image.channels * i;
    std::fill_n(to, 3, from[0] ? uint8_t{255} : from[1]);
    if (image.channels == 4) to[3] = from[2];
  }
}

int OrientationOf(PngState& s) {
  png_uint_32 n_bytes = 0;
  png_bytep exif = nullptr;
  return png_get_eXIf_1(s.png, s.info, &n_bytes, &exif) ? ExifOrientation({exif, n_bytes}) : 1;
}

}  // namespace

DecodedImage DecodePng(const EncodedImage& in) {
  PngState s(/*read=*/true);
  s.input = in.bytes;
  const auto run = [&](const auto& calls) {
    if (!Guarded(s, calls)) throw CorruptImage(in, "PNG", s.message);
  };
  run([&] {
    png_set_read_fn(s.png, nullptr, PngState::OnRead);
    png_set_user_limits(s.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the limit on pixels is BlankImage's
    SkipTexts(s.png);
    png_read_info(s.png, s.info);
  });
  const size_t width = png_get_image_width(s.png, s.info), height = png_get_image_height(s.png, s.info);
  CheckPixels(in, width, height);
  run([&] { AskForRgb(s, in.keep_alpha); });

  const size_t samples = png_get_channels(s.png, s.info);
  const bool wide_grey = png_get_bit_depth(s.png, s.info) == 16;
  const bool alpha = samples == 2 || samples == 4;
  DecodedImage image = BlankImage(in, width, height, alpha ? 4 : 3);
  std::vector<uint8_t> wide(wide_grey ? width * height * samples * 2 : 0);
  uint8_t* first = wide_grey ? wide.data() : image.pixels.data();
  const size_t row_bytes = png_get_rowbytes(s.png, s.info);
  std::vector<png_bytep> rows(height);
  for (size_t y = 0; y < height; ++y) rows[y] = first + y * row_bytes;

  run([&] { png_read_image(s.png, rows.data()); });
  // Only eXIf can still follow; a file that lacks its end is taken, as the reference does.
  Guarded(s, [&] { png_read_end(s.png, s.info); });
  image.orientation = OrientationOf(s);
  if (wide_grey) ClipWideGrey(wide, samples, image);
  return image;
}

std::vector<uint8_t> EncodePng(const RgbImage& image) {
  if (image.width == 0 || image.height == 0 || image.pixels.size() != image.width * image.height * 3 ||
      std::max(image.width, image.height) > PNG_UINT_31_MAX)
    throw Error(ErrorCode::kInvalidArgument, "picture to encode: " + std::to_string(image.width) + "x" +
                                                 std::to_string(image.height) + " with " +
                                                 std::to_string(image.pixels.size()) +
                                                 " bytes, want 3 bytes a pixel and at least one pixel");
  PngState s(/*read=*/false);
  const bool done = Guarded(s, [&] {
    png_set_write_fn(s.png, nullptr, PngState::OnWrite, nullptr);
    png_set_user_limits(s.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(s.png, s.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
                 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(s.png, s.info);
    for (size_t y = 0; y < image.height; ++y) png_write_row(s.png, image.pixels.data() + y * image.width * 3);
    png_write_end(s.png, s.info);
  });
  if (!done) throw Error(ErrorCode::kOutOfMemory, std::string("picture to encode: ") + s.message);
  return std::move(s.output);
}

}  // namespace qwen3vl
