// SPDX-License-Identifier: Apache-2.0
// Pictures: decode to RGB, resize as the reference does (Pillow's bicubic, to the last bit), cut into
// normalised patches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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
// The picture files of a folder in natural order (frame2 before frame10). Throws when there are none.
std::vector<std::string> ListFrames(const std::string& folder);

struct ImageSize {
  size_t height = 0, width = 0;
  bool operator==(const ImageSize&) const = default;
};

// Target size: multiples of patch * merge, pixel count within bounds. Throws Error(kInvalidArgument) for an
// aspect ratio over 200.
ImageSize SmartResize(ImageSize in, size_t factor, size_t min_pixels, size_t max_pixels);
ImageSize SmartResizeVideo(size_t n_frames, ImageSize in, size_t factor, size_t temporal_factor,
                           size_t min_pixels, size_t max_pixels);

// Pillow's antialiased bicubic (a = -0.5), 8-bit between the passes.
RgbImage ResizeBicubic(const RgbImage& in, ImageSize out, hw::Threads threads);

// Frames of a clip to read, out of `total` at `native_fps` (0: unknown, 24).
std::vector<size_t> SampleFrames(size_t total, double native_fps, const PreprocessConfig& config);
// Second of every temporal group: mean time of its two frames (an odd last one paired with itself).
std::vector<double> GroupSeconds(std::span<const size_t> frame_indices, double native_fps,
                                 size_t temporal_patch_size);

// What the vision tower reads.
struct Patches {
  rope::Grid grid;
  hw::AlignedBuffer<float> values;  // [t*h*w, 3 * temporal * patch * patch]
  ImageSize resized;
};

// One picture, or the frames of one clip (odd last frame repeated), to patches in merge-block order.
Patches PatchesOfImage(const RgbImage& image, const VisionConfig& vision, const PreprocessConfig& config,
                       hw::Threads threads);
Patches PatchesOfVideo(std::span<const RgbImage> frames, const VisionConfig& vision,
                       const PreprocessConfig& config, hw::Threads threads);

}  // namespace qwen3vl
