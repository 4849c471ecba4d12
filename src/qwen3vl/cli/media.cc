// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/media.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/interrupt.h"

namespace qwen3vl::cli {
namespace {

namespace fs = std::filesystem;

void RefuseVideoFile(const std::string& path) {
  constexpr std::array<const char*, 6> kExtensions{".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v"};
  std::string extension = fs::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (std::find(kExtensions.begin(), kExtensions.end(), extension) == kExtensions.end()) return;
  throw Failure(kBadFile,
                path + ": video files are not read, want a folder of frames; make one with: ffmpeg -i " +
                    path +
                    " -r 2 frames/%04d.png (the folder must be there), and give: --video frames --fps 2");
}

Clip LoadFrames(const std::string& value, const MediaOptions& options) {
  ClipOptions clip{.picture = options.picture,
                   .fps = options.fps,
                   .sample = !options.whole_folders,
                   .sampling = options.sampling};
  const std::vector<std::string> files = FrameFiles(value);
  if (files.empty()) return LoadClip(value, clip);
  RefuseVideoFile(files.front());
  clip.sample = false;  // whoever lists frames has chosen them
  return LoadClip(files, clip);
}

}  // namespace

std::vector<std::string> FrameFiles(const std::string& value) {
  std::error_code problem;
  if (fs::is_directory(value, problem)) return {};
  if (fs::exists(value, problem) || value.find(',') == std::string::npos) return {value};
  std::vector<std::string> files = SplitList(value, ',');
  if (files.empty()) throw Failure(kBadUsage, "--video '" + value + "': names no frame");
  return files;
}

Medium LoadMedium(const MediaArgument& argument, const MediaOptions& options) {
  CheckInterrupted();
  return ReadingFiles([&] {
    Medium m{.name = argument.value, .part = {}};
    if (argument.stream) {
      const std::string file = ReadText(argument.value);
      if (argument.value == "-") m.name = "standard input";
      m.part.picture = std::make_shared<const Picture>(DecodePicture(
          {reinterpret_cast<const uint8_t*>(file.data()), file.size()}, m.name, options.picture));
    } else if (argument.clip) {
      m.part.clip = std::make_shared<const Clip>(LoadFrames(argument.value, options));
    } else {
      m.part.picture = std::make_shared<const Picture>(LoadPicture(argument.value, options.picture));
    }
    return m;
  });
}

ClipSampling SamplingFor(const std::vector<MediaArgument>& arguments, const CommonOptions& options) {
  if (std::ranges::none_of(arguments, &MediaArgument::clip)) return {};
  return ReadingFiles([&] {
    return InspectModel(options.model, {.mmproj = options.mmproj, .session = {}}).info.clip_sampling;
  });
}

void CheckStdinReadOnce(const std::vector<MediaArgument>& arguments, bool by_text) {
  const auto readers =
      std::ranges::count_if(arguments, [](const MediaArgument& a) { return a.stream && a.value == "-"; });
  if (readers + (by_text ? 1 : 0) > 1)
    throw CLI::ValidationError("'-' is given more than once, want one thing from stdin");
}

std::vector<Medium> LoadMedia(const std::vector<MediaArgument>& arguments, const MediaOptions& options) {
  std::vector<Medium> media;
  for (const MediaArgument& a : arguments) media.push_back(LoadMedium(a, options));
  return media;
}

std::vector<MediumSize> LargestMedia(const std::vector<Medium>& media) {
  MediumSize picture, clip;
  const auto take = [](const Picture& p, size_t frames, MediumSize& largest) {
    const double area = static_cast<double>(p.width) * static_cast<double>(p.height);
    const auto side = static_cast<size_t>(std::ceil(std::sqrt(area)));
    if (3 * side * side * frames > largest.Bytes()) largest = {side, side, frames};
  };
  for (const Medium& m : media) {
    if (m.part.picture) take(*m.part.picture, 1, picture);
    if (m.part.clip && !m.part.clip->frames.empty())
      take(m.part.clip->frames.front(), m.part.clip->frames.size(), clip);
  }
  std::vector<MediumSize> sizes;
  for (const MediumSize& size : {picture, clip})
    if (size.Bytes() > 0) sizes.push_back(size);
  return sizes;
}

size_t DecodedBytes(const std::vector<Medium>& media) {
  size_t bytes = 0;
  for (const Medium& m : media) {
    if (m.part.picture) bytes += m.part.picture->pixels.size();
    if (!m.part.clip) continue;
    for (const Picture& frame : m.part.clip->frames) bytes += frame.pixels.size();
  }
  return bytes;
}

Message UserTurn(const std::vector<Medium>& media, const std::string& text) {
  Message message{.role = "user", .parts = {}, .reasoning = "", .tool_calls = {}};
  for (const Medium& m : media) message.parts.push_back(m.part);
  message.parts.push_back({.text = text, .picture = nullptr, .clip = nullptr});
  return message;
}

}  // namespace qwen3vl::cli
