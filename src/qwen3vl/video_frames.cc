// SPDX-License-Identifier: Apache-2.0
// Clips given as folders of pictures: which files are frames, which frames are read, and when they were
// shown. Sampling and times: Hugging Face Qwen3-VL video processor.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "qwen3vl/image.h"
#include "qwen3vl/list_folder.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

constexpr double kDefaultFps = 24;  // what the reference assumes of a clip without a rate

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Cuts the run of digits at the front of `text`; without leading zeros.
std::string_view TakeNumber(std::string_view& text) {
  size_t n = 0;
  while (n < text.size() && IsDigit(text[n])) ++n;
  std::string_view number = text.substr(0, n);
  text.remove_prefix(n);
  number.remove_prefix(std::min(number.find_first_not_of('0'), number.size()));
  return number;
}

// frame2 before frame10; names that differ only in leading zeros by their bytes.
bool NaturalLess(const std::string& left, const std::string& right) {
  std::string_view a = left, b = right;
  while (!a.empty() && !b.empty()) {
    if (IsDigit(a[0]) && IsDigit(b[0])) {
      const std::string_view m = TakeNumber(a), n = TakeNumber(b);
      if (m.size() != n.size()) return m.size() < n.size();
      if (m != n) return m < n;
    } else {
      if (a[0] != b[0]) return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
  }
  if (a.empty() != b.empty()) return a.empty();
  return left < right;
}

// By its name or by its first bytes: a damaged frame must be reported later, not passed over.
bool LooksLikeImage(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 6> kExtensions{".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"};
  if (std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end()) return true;
  std::array<char, 16> head{};
  std::ifstream file(path, std::ios::binary);
  file.read(head.data(), head.size());
  return IsImage({reinterpret_cast<const uint8_t*>(head.data()), static_cast<size_t>(file.gcount())});
}

}  // namespace

std::vector<std::string> ListFrames(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code problem;
  for (const fs::directory_entry& entry : ListFolder(folder, "a folder with one picture file a frame")) {
    const std::string name = entry.path().filename().string();
    if (name[0] != '.' && entry.is_regular_file(problem) && LooksLikeImage(entry.path()))
      names.push_back(name);
  }
  if (names.empty())
    throw Error(ErrorCode::kNotFound,
                folder + ": no frames in this folder, want JPEG, PNG, WebP, GIF or BMP files");
  std::sort(names.begin(), names.end(), NaturalLess);
  for (std::string& name : names) name = (fs::path(folder) / name).string();
  return names;
}

std::vector<size_t> EvenFrames(size_t total, size_t n) {
  if (n == 0 || n > total)
    throw Error(ErrorCode::kInvalidArgument, std::to_string(n) + " frames asked of a clip of " +
                                                 std::to_string(total) + ", want 1 to that many");
  std::vector<size_t> indices(n);
  if (n == 1) return indices;
  const double step = static_cast<double>(total - 1) / static_cast<double>(n - 1);
  for (size_t i = 0; i + 1 < n; ++i)
    indices[i] = static_cast<size_t>(std::nearbyint(static_cast<double>(i) * step));
  indices[n - 1] = total - 1;
  return indices;
}

std::vector<size_t> SampleFrames(size_t total, double native_fps, const ClipSampling& sampling) {
  if (!(native_fps >= 0) || !std::isfinite(native_fps))
    throw Error(ErrorCode::kInvalidArgument, "frame rate of the clip: " + std::to_string(native_fps) +
                                                 ", want a number over 0, or 0: unknown");
  if (!(sampling.fps > 0) || !std::isfinite(sampling.fps))
    throw Error(ErrorCode::kInvalidArgument,
                "frames to take a second: " + std::to_string(sampling.fps) + ", want a number over 0");
  const double seconds = static_cast<double>(total) / (native_fps > 0 ? native_fps : kDefaultFps);
  const double wanted = std::floor(seconds * sampling.fps);
  const auto most = static_cast<double>(std::min(sampling.max_frames, total));
  return EvenFrames(
      total, static_cast<size_t>(std::min(std::max(wanted, static_cast<double>(sampling.min_frames)), most)));
}

std::vector<double> GroupSeconds(std::span<const double> frame_seconds, size_t temporal_patch_size) {
  std::vector<double> seconds;
  for (size_t i = 0; i < frame_seconds.size(); i += temporal_patch_size) {
    const size_t last = std::min(i + temporal_patch_size, frame_seconds.size()) - 1;
    seconds.push_back((frame_seconds[i] + frame_seconds[last]) / 2);
  }
  return seconds;
}

}  // namespace qwen3vl
