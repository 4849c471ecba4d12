// SPDX-License-Identifier: Apache-2.0
// Target sizes of pictures and clips: Hugging Face smart_resize of Qwen2-VL images and Qwen3-VL videos. All
// in double; halves round to the even neighbour.
#include <algorithm>
#include <cmath>
#include <string>

#include "qwen3vl/error.h"
#include "qwen3vl/image.h"

namespace qwen3vl {
namespace {

constexpr double kMaxAspect = 200;

std::string Text(ImageSize size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

void CheckRule(ImageSize in, size_t factor, size_t max_pixels) {
  if (in.height == 0 || in.width == 0)
    throw Error(ErrorCode::kInvalidArgument, "picture of " + Text(in) + " pixels, want at least 1x1");
  if (factor == 0 || max_pixels == 0)
    throw Error(ErrorCode::kInvalidArgument, "picture size rule: steps of " + std::to_string(factor) +
                                                 " up to " + std::to_string(max_pixels) +
                                                 " pixels, want both over 0");
}

void CheckAspect(ImageSize in) {
  const auto [low, high] = std::minmax(in.height, in.width);
  if (static_cast<double>(high) / static_cast<double>(low) > kMaxAspect)
    throw Error(ErrorCode::kInvalidArgument,
                "picture of " + Text(in) +
                    " pixels: one side is over 200 times the other, which the model "
                    "cannot take: crop it");
}

size_t RoundTo(double value, double step) { return static_cast<size_t>(std::nearbyint(value / step) * step); }

// `volume` is the pixel count of the unrounded input, frames included, `rounded` that of the rounded one.
ImageSize Fit(ImageSize in, ImageSize rounded_size, double volume, double rounded, double factor,
              double min_pixels, double max_pixels) {
  const auto h = static_cast<double>(in.height), w = static_cast<double>(in.width);
  if (rounded > max_pixels) {
    const double shrink = std::sqrt(volume / max_pixels);
    return {static_cast<size_t>(std::max(factor, std::floor(h / shrink / factor) * factor)),
            static_cast<size_t>(std::max(factor, std::floor(w / shrink / factor) * factor))};
  }
  if (rounded < min_pixels) {
    const double grow = std::sqrt(min_pixels / volume);
    return {static_cast<size_t>(std::ceil(h * grow / factor) * factor),
            static_cast<size_t>(std::ceil(w * grow / factor) * factor)};
  }
  return rounded_size;
}

}  // namespace

ImageSize SmartResize(ImageSize in, size_t factor, size_t min_pixels, size_t max_pixels) {
  CheckRule(in, factor, max_pixels);
  CheckAspect(in);
  const auto h = static_cast<double>(in.height), w = static_cast<double>(in.width);
  const auto step = static_cast<double>(factor);
  const ImageSize size{RoundTo(h, step), RoundTo(w, step)};
  return Fit(in, size, h * w, static_cast<double>(size.height) * static_cast<double>(size.width), step,
             static_cast<double>(min_pixels), static_cast<double>(max_pixels));
}

ImageSize SmartResizeVideo(size_t n_frames, ImageSize in, size_t factor, size_t temporal_factor,
                           size_t min_pixels, size_t max_pixels) {
  CheckRule(in, factor, max_pixels);
  if (temporal_factor == 0 || n_frames < temporal_factor)
    throw Error(ErrorCode::kInvalidArgument, "clip of " + std::to_string(n_frames) +
                                                 " frames, want at least " +
                                                 std::to_string(std::max<size_t>(temporal_factor, 1)));
  if (std::min(in.height, in.width) < factor)
    throw Error(ErrorCode::kInvalidArgument, "clip of " + Text(in) + " pixels, want sides of at least " +
                                                 std::to_string(factor) + ": enlarge the frames");
  CheckAspect(in);
  const auto n = static_cast<double>(n_frames), h = static_cast<double>(in.height),
             w = static_cast<double>(in.width);
  const auto step = static_cast<double>(factor);
  const ImageSize size{RoundTo(h, step), RoundTo(w, step)};
  const auto t = static_cast<double>(RoundTo(n, static_cast<double>(temporal_factor)));
  return Fit(in, size, n * h * w, t * static_cast<double>(size.height) * static_cast<double>(size.width),
             step, static_cast<double>(min_pixels), static_cast<double>(max_pixels));
}

}  // namespace qwen3vl
