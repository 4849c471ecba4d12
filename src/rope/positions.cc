// SPDX-License-Identifier: Apache-2.0
#include "rope/positions.h"

#include <algorithm>
#include <limits>
#include <string>

#include "hw/checked.h"
#include "qwen3vl/error.h"

namespace qwen3vl::rope {
namespace {

[[noreturn]] void Fail(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

// h and w must be whole merge blocks, or placeholders and patches could not agree.
void CheckGrid(const Grid& grid, size_t merge_size) {
  if (merge_size == 0 || grid.t == 0 || grid.h == 0 || grid.w == 0 || grid.h % merge_size ||
      grid.w % merge_size)
    Fail("grid " + std::to_string(grid.t) + " x " + std::to_string(grid.h) + " x " + std::to_string(grid.w) +
         ": want t >= 1 and h, w positive multiples of the merge size " + std::to_string(merge_size));
}

// Hands out the visual runs of one kind in prompt order: a picture is one run, a clip one per temporal group.
class Runs {
 public:
  Runs(const char* kind, std::span<const Grid> grids, size_t merge_size) : kind_(kind), grids_(grids) {
    for (const Grid& g : grids) CheckGrid(g, merge_size);
  }

  const Grid& Next(size_t index) {
    if (at_ == grids_.size())
      Fail("token " + std::to_string(index) + ": " + kind_ + " placeholder, but only " +
           std::to_string(grids_.size()) + " " + kind_ + " grid(s) given");
    const Grid& g = grids_[at_];
    if (++group_ == g.t) ++at_, group_ = 0;
    return g;
  }

  void CheckAllUsed() const {
    if (at_ != grids_.size())
      Fail(std::string(kind_) + " " + std::to_string(at_) + ", temporal group " + std::to_string(group_) +
           ": no placeholders in the prompt for it (" + std::to_string(grids_.size()) + " given)");
  }

 private:
  const char* kind_;
  std::span<const Grid> grids_;
  size_t at_ = 0;
  size_t group_ = 0;
};

// Writes the positions of one visual run that starts at `begin`; returns its length in tokens.
size_t PlaceRun(std::span<const int32_t> ids, size_t begin, size_t rows, size_t cols, int32_t next,
                std::vector<Position>& out) {
  const size_t want = hw::CheckedMul(rows, cols, "visual run");
  size_t found = 0;
  while (found < want && begin + found < ids.size() && ids[begin + found] == ids[begin]) ++found;
  if (found != want)
    Fail("token " + std::to_string(begin) + ": run of " + std::to_string(found) +
         " placeholders, want rows x cols = " + std::to_string(rows) + " x " + std::to_string(cols));
  for (size_t i = 0; i < want; ++i)
    out.push_back({next, next + static_cast<int32_t>(i / cols), next + static_cast<int32_t>(i % cols)});
  return want;
}

}  // namespace

PromptPositions PositionsOf(std::span<const int32_t> ids, std::span<const Grid> images,
                            std::span<const Grid> videos, size_t merge_size, VisualIds pad,
                            int64_t next_before) {
  Runs image_runs("image", images, merge_size);
  Runs video_runs("video", videos, merge_size);
  PromptPositions out;
  out.positions.reserve(ids.size());
  out.next = next_before;
  const auto advance = [&](size_t by) {
    if (out.next < 0 || by > static_cast<size_t>(std::numeric_limits<int32_t>::max() - out.next))
      Fail("position " + std::to_string(out.next) + " + " + std::to_string(by) +
           ": outside 0 .. 2^31 - 1; shorten the prompt");
    const auto before = static_cast<int32_t>(out.next);
    out.next += static_cast<int64_t>(by);
    return before;
  };
  for (size_t i = 0; i < ids.size();) {
    const bool image = ids[i] == pad.image, video = ids[i] == pad.video;
    if (!image && !video) {
      const int32_t p = advance(1);
      out.positions.push_back({p, p, p});
      ++i;
      continue;
    }
    const Grid& grid = (image ? image_runs : video_runs).Next(i);
    if (image && grid.t != 1)
      Fail("image grid with t = " + std::to_string(grid.t) + ": want 1 (a clip is a video)");
    const size_t rows = grid.h / merge_size, cols = grid.w / merge_size;
    i += PlaceRun(ids, i, rows, cols, advance(std::max(rows, cols)), out.positions);
  }
  image_runs.CheckAllUsed();
  video_runs.CheckAllUsed();
  return out;
}

std::vector<Position> PatchPositions(std::span<const Grid> grids, size_t merge_size) {
  size_t total = 0;
  for (const Grid& g : grids) {
    CheckGrid(g, merge_size);
    total = hw::CheckedAdd(total, hw::CheckedProduct({g.t, g.h, g.w}, "patch grid"), "patch grids");
  }
  std::vector<Position> out;
  out.reserve(total);
  const auto add_block = [&](size_t top, size_t left) {
    for (size_t r = 0; r < merge_size; ++r)
      for (size_t c = 0; c < merge_size; ++c)
        out.push_back({0, static_cast<int32_t>(top + r), static_cast<int32_t>(left + c)});
  };
  for (const Grid& g : grids)
    for (size_t t = 0; t < g.t; ++t)
      for (size_t top = 0; top < g.h; top += merge_size)
        for (size_t left = 0; left < g.w; left += merge_size) add_block(top, left);
  return out;
}

}  // namespace qwen3vl::rope
