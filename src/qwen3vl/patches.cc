// SPDX-License-Identifier: Apache-2.0
// From upright RGB pictures to the rows that the vision tower embeds: resize, normalise, reorder.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "hw/checked.h"
#include "qwen3vl/image.h"

namespace qwen3vl {
namespace {

constexpr size_t kChannels = 3;

// The value of every 8-bit level per channel. Pictures and clips differ in the last bit, because the
// reference's two processors order their float operations differently.
using LevelTable = std::array<std::array<float, 256>, kChannels>;

// Scale to 0..1 and round; subtract; divide.
LevelTable ImageLevels(const PreprocessConfig& config) {
  LevelTable table;
  for (size_t c = 0; c < kChannels; ++c) {
    for (size_t level = 0; level < 256; ++level) {
      const auto unit = static_cast<float>(static_cast<double>(level) * (1.0 / 255.0));
      table[c][level] = (unit - config.mean[c]) / config.std[c];
    }
  }
  return table;
}

// Mean and deviation are scaled to 0..255 instead.
LevelTable ClipLevels(const PreprocessConfig& config) {
  LevelTable table;
  for (size_t c = 0; c < kChannels; ++c) {
    for (size_t level = 0; level < 256; ++level)
      table[c][level] = (static_cast<float>(level) - config.mean[c] * 255.0f) / (config.std[c] * 255.0f);
  }
  return table;
}

// Writes the patches of resized pictures, all of one size.
class PatchWriter {
 public:
  PatchWriter(ImageSize size, size_t n_groups, const VisionConfig& vision, const LevelTable& levels)
      : vision_(vision), levels_(levels) {
    const size_t p = vision.patch_size;
    patches_.resized = size;
    patches_.grid = {n_groups, size.height / p, size.width / p};
    patches_.values = hw::AlignedBuffer<float>(
        hw::CheckedProduct({n_groups, patches_.grid.h, patches_.grid.w, vision.patch_dim()}, "patches"));
  }

  // `picture` becomes slots first_slot .. first_slot + n_slots - 1 of temporal group `group`.
  void Write(const RgbImage& picture, size_t group, size_t first_slot, size_t n_slots, hw::Threads threads) {
    const size_t merge = vision_.merge_size, block_rows = patches_.grid.h / merge;
    hw::ParallelFor(threads, block_rows, [&](size_t block_row, size_t) {
      const size_t patches_per_row = merge * patches_.grid.w;
      float* to =
          patches_.values.data() + (group * block_rows + block_row) * patches_per_row * vision_.patch_dim();
      for (size_t i = 0; i < patches_per_row; ++i, to += vision_.patch_dim()) {
        const size_t in_block = i % (merge * merge), block = i / (merge * merge);
        const size_t row = block_row * merge + in_block / merge, column = block * merge + in_block % merge;
        for (size_t slot = first_slot; slot < first_slot + n_slots; ++slot)
          WritePatch(picture, row, column, slot, to);
      }
    });
  }

  Patches Take() { return std::move(patches_); }

 private:
  // One patch, to [channel, slot, patch row, patch column].
  void WritePatch(const RgbImage& picture, size_t row, size_t column, size_t slot, float* to) const {
    const size_t p = vision_.patch_size, row_bytes = picture.width * kChannels;
    const uint8_t* corner = picture.pixels.data() + row * p * row_bytes + column * p * kChannels;
    for (size_t c = 0; c < kChannels; ++c) {
      float* plane = to + (c * vision_.temporal_patch_size + slot) * p * p;
      for (size_t y = 0; y < p; ++y)
        for (size_t x = 0; x < p; ++x)
          plane[y * p + x] = levels_[c][corner[y * row_bytes + x * kChannels + c]];
    }
  }

  const VisionConfig& vision_;
  LevelTable levels_;
  Patches patches_;
};

ImageSize SizeOf(const RgbImage& image) { return {image.height, image.width}; }

void CheckSameSize(const RgbImage& frame, size_t index, ImageSize first) {
  if (SizeOf(frame) == first) return;
  throw Error(ErrorCode::kInvalidArgument,
              "frame " + std::to_string(index) + " of the clip is " + std::to_string(frame.width) + "x" +
                  std::to_string(frame.height) + ", the first one " + std::to_string(first.width) + "x" +
                  std::to_string(first.height) + ": all frames must have one size");
}

}  // namespace

ImageSize ClipSize(size_t n_frames, ImageSize frame, const VisionConfig& vision,
                   const PreprocessConfig& config) {
  const size_t factor = vision.patch_size * vision.merge_size;
  const size_t side = std::min(frame.height, frame.width);
  if (side > 0 && side < factor) {
    const double grow = static_cast<double>(factor) / static_cast<double>(side);
    frame.height = std::max(factor, static_cast<size_t>(static_cast<double>(frame.height) * grow));
    frame.width = std::max(factor, static_cast<size_t>(static_cast<double>(frame.width) * grow));
  }
  return SmartResizeVideo(std::max(n_frames, vision.temporal_patch_size), frame, factor,
                          vision.temporal_patch_size, config.video_min_pixels, config.video_max_pixels);
}

Patches PatchesOfImage(const RgbImage& image, const VisionConfig& vision, const PreprocessConfig& config,
                       hw::Threads threads) {
  const ImageSize size = SmartResize(SizeOf(image), vision.patch_size * vision.merge_size,
                                     config.image_min_pixels, config.image_max_pixels);
  PatchWriter writer(size, 1, vision, ImageLevels(config));
  writer.Write(ResizeBicubic(image, size, threads), 0, 0, vision.temporal_patch_size, threads);
  return writer.Take();
}

Patches PatchesOfVideo(std::span<const RgbImage> frames, const VisionConfig& vision,
                       const PreprocessConfig& config, hw::Threads threads) {
  if (frames.empty()) throw Error(ErrorCode::kInvalidArgument, "clip of 0 frames, want at least one");
  const size_t slots = vision.temporal_patch_size, n_groups = (frames.size() + slots - 1) / slots;
  const ImageSize first = SizeOf(frames[0]), size = ClipSize(frames.size(), first, vision, config);
  PatchWriter writer(size, n_groups, vision, ClipLevels(config));
  for (size_t i = 0; i < frames.size() && !(threads.cancel && threads.cancel->load()); ++i) {
    CheckSameSize(frames[i], i, first);
    const size_t slot = i % slots;
    const size_t n_slots = i + 1 == frames.size() ? slots - slot : 1;  // the last frame fills its group
    writer.Write(ResizeBicubicFloat(frames[i], size, threads), i / slots, slot, n_slots, threads);
  }
  return writer.Take();
}

}  // namespace qwen3vl
