// SPDX-License-Identifier: Apache-2.0
// JPEG through libjpeg-turbo. Errors leave the library by longjmp, so that every frame between Guarded() and
// the library holds only trivial objects.
#include <csetjmp>
#include <cstdio>
#include <vector>

// jpeglib.h does not include what it needs; jerror.h needs jpeglib.h.
#include <jerror.h>
#include <jpeglib.h>

#include "qwen3vl/image_codecs.h"
#include "qwen3vl/image_orientation.h"

namespace qwen3vl {
namespace {

// A progressive file may repeat tiny scans over a huge picture for hours; no encoder writes so many.
constexpr int kMaxScans = 200;

struct Reader {
  Reader() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = [](j_common_ptr common) {
      auto* self = static_cast<Reader*>(common->client_data);
      common->err->format_message(common, self->message);
      std::longjmp(self->jump, 1);
    };
    // Level -1 is a warning. A file that ends too soon is one; libjpeg would paint the rest grey.
    errors.emit_message = [](j_common_ptr common, int level) {
      if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF)
        static_cast<Reader*>(common->client_data)->truncated = true;
    };
    errors.output_message = [](j_common_ptr) {};
    progress.progress_monitor = [](j_common_ptr common) {
      auto* self = static_cast<Reader*>(common->client_data);
      if (self->info.input_scan_number <= kMaxScans) return;
      std::snprintf(self->message, sizeof self->message, "more than %d scans", kMaxScans);
      std::longjmp(self->jump, 1);
    };
  }
  ~Reader() { jpeg_destroy_decompress(&info); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
  bool truncated = false;
};

// Runs calls into libjpeg; what goes wrong there is thrown from here.
template <class Calls>
void Guarded(Reader& reader, const EncodedImage& in, const Calls& calls) {
  if (setjmp(reader.jump)) throw CorruptImage(in, "JPEG", reader.message);
  calls();
  if (reader.truncated) throw CorruptImage(in, "JPEG", "it ends too soon");
}

// Pillow takes four channels for Adobe's inverted ink amounts, whatever the file says, and multiplies paper
// white by ink and by black with a rounded division by 255.
void InksToRgb(const uint8_t* inks, size_t n_pixels, uint8_t* rgb) {
  for (size_t i = 0; i < n_pixels; ++i) {
    const unsigned light = inks[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const unsigned product = (255 - inks[4 * i + c]) * light + 128;
      rgb[3 * i + c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
    }
  }
}

int OrientationOf(const jpeg_decompress_struct& info) {
  for (const jpeg_marker_struct* m = info.marker_list; m; m = m->next) {
    const std::span<const uint8_t> data(m->data, m->data_length);
    if (data.size() >= 6 && data[0] == 'E' && data[1] == 'x' && data[2] == 'i' && data[3] == 'f')
      return ExifOrientation(data);
  }
  return 1;
}

}  // namespace

DecodedImage DecodeJpeg(const EncodedImage& in) {
  Reader reader;
  jpeg_decompress_struct& info = reader.info;
  Guarded(reader, in, [&] {
    jpeg_create_decompress(&info);
    info.progress = &reader.progress;
    jpeg_mem_src(&info, in.bytes.data(), in.bytes.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
  });

  DecodedImage image = BlankImage(in, info.image_width, info.image_height, 3);
  image.orientation = OrientationOf(info);
  const bool inks = info.num_components == 4;
  std::vector<uint8_t> ink_row(inks ? image.width * 4 : 0);
  Guarded(reader, in, [&] {
    info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info);
  });
  Guarded(reader, in, [&] {
    while (info.output_scanline < info.output_height && !reader.truncated) {
      uint8_t* rgb = image.pixels.data() + info.output_scanline * image.width * 3;
      JSAMPROW row = inks ? ink_row.data() : rgb;
      jpeg_read_scanlines(&info, &row, 1);
      if (inks) InksToRgb(row, image.width, rgb);
    }
  });
  return image;
}

}  // namespace qwen3vl
