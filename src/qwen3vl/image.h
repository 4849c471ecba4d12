// SPDX-License-Identifier: Apache-2.0
// Pictures: decode to RGB, resize as the reference does (Pillow's bicubic, to the last bit), cut into
// normalised patches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/parallel.h"
#include "qwen3vl/config.h"
#include "qwen3vl/qwen3vl.h"
#include "rope/positions.h"

namespace qwen3vl {

using RgbImage = Picture;
using DecodeOptions = PictureOptions;

// JPEG, PNG, WebP, GIF (first frame), BMP; EXIF orientation applied; grey, palette and 16-bit expanded.
// `name` is for messages. Throws Error(kNotFound, kCorruptFile, kUnsupported).
RgbImage DecodeImage(std::span<const uint8_t> file, const std::string& name,
                     const DecodeOptions& options = {});
RgbImage LoadImage(const std::string& path, const DecodeOptions& options = {});
// Whether a file that begins with these bytes (16 are enough) is in a format that DecodeImage reads.
bool IsImage(std::span<const uint8_t> file);
// A whole PNG file. Throws Error(kInvalidArgument) when the picture contradicts itself.
std::vector<uint8_t> EncodePng(const RgbImage& image);

// The picture files of a folder in natural order (frame2 before frame10), as paths; hidden files are left
// out. Throws Error(kNotFound, kInvalidArgument) when there are none or it is no folder.
std::vector<std::string> ListFrames(const std::string& folder);

struct ImageSize {
  size_t height = 0, width = 0;
  bool operator==(const ImageSize&) const = default;
};

// Target size: multiples of factor (patch * merge), pixel count within bounds where the shape allows it.
// Throws Error(kInvalidArgument) for an aspect ratio over 200; for a clip also for fewer frames than
// temporal_factor and for a side below factor. The bounds of a clip count the pixels of all frames.
ImageSize SmartResize(ImageSize in, size_t factor, size_t min_pixels, size_t max_pixels);
ImageSize SmartResizeVideo(size_t n_frames, ImageSize in, size_t factor, size_t temporal_factor,
                           size_t min_pixels, size_t max_pixels);
// Target size of the frames of a clip: that of SmartResizeVideo, where small frames count as enlarged until
// their shorter side is patch * merge, and a few frames as repeated until they fill a temporal group.
ImageSize ClipSize(size_t n_frames, ImageSize frame, const VisionConfig& vision,
                   const PreprocessConfig& config);

// Antialiased bicubic (a = -0.5), bit-exact: as Pillow does it, 8-bit between the passes (pictures); and as
// torch does it on float32, rounded once at the end (frames of clips). Throws Error(kInvalidArgument) for
// empty sizes.
RgbImage ResizeBicubic(const RgbImage& in, ImageSize out, hw::Threads threads);
RgbImage ResizeBicubicFloat(const RgbImage& in, ImageSize out, hw::Threads threads);

// Frames of a clip to read, out of `total` at `native_fps` (0: unknown, 24). Throws Error(kInvalidArgument)
// for an empty clip or an impossible rate.
std::vector<size_t> SampleFrames(size_t total, double native_fps, const ClipSampling& sampling);
// n of them evenly, the first and the last included (n 1: the first).
std::vector<size_t> EvenFrames(size_t total, size_t n);
// Second of every temporal group: mean time of its first and its last frame.
std::vector<double> GroupSeconds(std::span<const double> frame_seconds, size_t temporal_patch_size);

// What the vision tower reads.
struct Patches {
  rope::Grid grid;
  hw::AlignedBuffer<float> values;  // [t*h*w, 3 * temporal * patch * patch]
  ImageSize resized;
};

// One picture, or the frames of one clip (odd last frame repeated), to patches in merge-block order. Frames
// of a clip must have one size. Throws Error(kInvalidArgument). After a cancellation the values are not
// complete.
Patches PatchesOfImage(const RgbImage& image, const VisionConfig& vision, const PreprocessConfig& config,
                       hw::Threads threads);
Patches PatchesOfVideo(std::span<const RgbImage> frames, const VisionConfig& vision,
                       const PreprocessConfig& config, hw::Threads threads);

}  // namespace qwen3vl
