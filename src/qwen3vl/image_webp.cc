// SPDX-License-Identifier: Apache-2.0
// WebP through libwebp: lossy, lossless, with transparency; of an animation the first frame on its canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "qwen3vl/image_codecs.h"
#include "qwen3vl/image_orientation.h"

namespace qwen3vl {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

int OrientationOf(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk;
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk))
    orientation = ExifOrientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

// Decodes the frame to its place in the picture.
bool DecodeFrame(const WebPIterator& frame, DecodedImage& image) {
  const size_t x = static_cast<size_t>(std::max(frame.x_offset, 0));
  const size_t y = static_cast<size_t>(std::max(frame.y_offset, 0));
  const size_t width = static_cast<size_t>(frame.width), height = static_cast<size_t>(frame.height);
  if (x + width > image.width || y + height > image.height) return false;
  const size_t row_bytes = image.width * image.channels;
  uint8_t* to = image.pixels.data() + y * row_bytes + x * image.channels;
  const size_t space = (height - 1) * row_bytes + width * image.channels;
  const auto decode = image.channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  return decode(frame.fragment.bytes, frame.fragment.size, to, space, static_cast<int>(row_bytes)) != nullptr;
}

}  // namespace

DecodedImage DecodeWebp(const EncodedImage& in) {
  const WebPData data{in.bytes.data(), in.bytes.size()};
  const Demuxer demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (!demuxer) throw CorruptImage(in, "WebP", "its chunks are incomplete or contradict each other");
  DecodedImage image = BlankImage(in, WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                                  WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT), in.keep_alpha ? 4 : 3);
  image.orientation = OrientationOf(demuxer.get());
  WebPIterator frame;
  const bool done = WebPDemuxGetFrame(demuxer.get(), 1, &frame) && DecodeFrame(frame, image);
  WebPDemuxReleaseIterator(&frame);
  if (!done) throw CorruptImage(in, "WebP", "the first frame cannot be decoded");
  return image;
}

}  // namespace qwen3vl
