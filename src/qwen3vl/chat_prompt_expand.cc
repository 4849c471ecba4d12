// SPDX-License-Identifier: Apache-2.0
// Placeholders of pictures and clips, as Qwen3VLProcessor of Hugging Face expands them.
#include <array>
#include <charconv>

#include "hw/checked.h"
#include "qwen3vl/chat_prompt.h"
#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

constexpr std::string_view kImagePad = "<|image_pad|>";
constexpr std::string_view kVideoPad = "<|video_pad|>";
constexpr std::string_view kVisionStart = "<|vision_start|>";
constexpr std::string_view kVisionEnd = "<|vision_end|>";

[[noreturn]] void Fail(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

void AppendTimes(std::string_view text, size_t n, std::string* out) {
  out->reserve(hw::CheckedAdd(out->size(), hw::CheckedMul(text.size(), n, "placeholders"), "placeholders"));
  for (size_t i = 0; i < n; ++i) *out += text;
}

// As C's "%.1f", whatever the locale.
void AppendSeconds(double seconds, std::string* out) {
  std::array<char, 400> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), seconds, std::chars_format::fixed, 1).ptr;
  out->append("<").append(buffer.data(), end).append(" seconds>");
}

// Walks through the placeholders of one or more texts in order.
class Expander {
 public:
  Expander(const std::vector<rope::Grid>& images, const std::vector<rope::Grid>& videos,
           const std::vector<VideoTiming>& timings, size_t merge_size)
      : images_(images), videos_(videos), timings_(timings), merge_size_(merge_size) {
    if (merge_size == 0) Fail("merge_size: 0, want at least 1");
    if (timings.size() != videos.size())
      Fail("videos: " + std::to_string(timings.size()) + " timings for " + std::to_string(videos.size()) +
           " clips");
  }

  std::string Expand(std::string_view text) {
    std::string out;
    while (true) {
      const size_t image = text.find(kImagePad), video = text.find(kVideoPad);
      if (image == video) break;  // neither
      if (image < video) {
        out += text.substr(0, image);
        AppendImage(&out);
        text.remove_prefix(image + kImagePad.size());
      } else {
        // The timestamp goes before <|vision_start|>, so the marks around are written anew.
        std::string_view before = text.substr(0, video);
        text.remove_prefix(video + kVideoPad.size());
        if (before.ends_with(kVisionStart) && text.starts_with(kVisionEnd)) {
          before.remove_suffix(kVisionStart.size());
          text.remove_prefix(kVisionEnd.size());
        }
        out += before;
        AppendVideo(&out);
      }
    }
    return out += text;
  }

  void Finish() const {
    if (next_image_ != images_.size())
      Fail("prompt: " + std::to_string(next_image_) + " image placeholders for " +
           std::to_string(images_.size()) + " images");
    if (next_video_ != videos_.size())
      Fail("prompt: " + std::to_string(next_video_) + " video placeholders for " +
           std::to_string(videos_.size()) + " videos");
  }

 private:
  size_t TokensPerGroup(const rope::Grid& grid) const {
    const size_t n = hw::CheckedMul(grid.h, grid.w, "grid");
    return n / merge_size_ / merge_size_;
  }

  void AppendImage(std::string* out) {
    if (next_image_ == images_.size())
      Fail("prompt: more image placeholders than images (" + std::to_string(images_.size()) + ")");
    const rope::Grid& grid = images_[next_image_++];
    AppendTimes(kImagePad, hw::CheckedMul(grid.t, TokensPerGroup(grid), "grid"), out);
  }

  void AppendVideo(std::string* out) {
    if (next_video_ == videos_.size())
      Fail("prompt: more video placeholders than videos (" + std::to_string(videos_.size()) + ")");
    const rope::Grid& grid = videos_[next_video_];
    const std::vector<double>& seconds = timings_[next_video_].group_seconds;
    ++next_video_;
    if (seconds.size() != grid.t)
      Fail("video " + std::to_string(next_video_) + ": " + std::to_string(seconds.size()) +
           " timestamps for " + std::to_string(grid.t) + " temporal groups");
    for (const double second : seconds) {
      AppendSeconds(second, out);
      *out += kVisionStart;
      AppendTimes(kVideoPad, TokensPerGroup(grid), out);
      *out += kVisionEnd;
    }
  }

  const std::vector<rope::Grid>&images_, &videos_;
  const std::vector<VideoTiming>& timings_;
  size_t merge_size_, next_image_ = 0, next_video_ = 0;
};

}  // namespace

std::string ExpandPlaceholders(std::string_view rendered, const std::vector<rope::Grid>& images,
                               const std::vector<rope::Grid>& videos, const std::vector<VideoTiming>& timings,
                               size_t merge_size) {
  Expander expander(images, videos, timings, merge_size);
  std::string out = expander.Expand(rendered);
  expander.Finish();
  return out;
}

std::vector<TextSegment> ExpandPlaceholders(std::span<const TextSegment> rendered,
                                            const std::vector<rope::Grid>& images,
                                            const std::vector<rope::Grid>& videos,
                                            const std::vector<VideoTiming>& timings, size_t merge_size) {
  Expander expander(images, videos, timings, merge_size);
  std::vector<TextSegment> out(rendered.begin(), rendered.end());
  for (TextSegment& segment : out)
    if (segment.added_tokens == AddedTokenUse::kAll) segment.text = expander.Expand(segment.text);
  expander.Finish();
  return out;
}

}  // namespace qwen3vl
