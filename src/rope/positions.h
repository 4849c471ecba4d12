// SPDX-License-Identifier: Apache-2.0
// (t, h, w) of every token of a prompt with images and videos; integers only. Hugging Face get_rope_index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rope/rope.h"

namespace qwen3vl::rope {

// A picture or clip in patch units: t temporal groups of h x w patches.
struct Grid {
  size_t t = 1, h = 0, w = 0;
  bool operator==(const Grid&) const = default;
};

struct VisualIds {
  int32_t image = 0;  // <|image_pad|>
  int32_t video = 0;  // <|video_pad|>
};

struct PromptPositions {
  std::vector<Position> positions;  // [n]
  int64_t next = 0;                 // position of the token after the prompt; rope_delta = next - n
};

// Positions of `ids`, where the first token takes position `next_before`. Each run of image placeholders
// belongs to the next grid of `images`; each run of video placeholders to the next temporal group of
// `videos`. Throws Error(kInvalidArgument) when runs and grids do not match (too many, too few, a run of the
// wrong length).
PromptPositions PositionsOf(std::span<const int32_t> ids, std::span<const Grid> images,
                            std::span<const Grid> videos, size_t merge_size, VisualIds pad,
                            int64_t next_before = 0);

// (0, row, col) of every patch of the grids in merge-block order (2 x 2 blocks row-major; inside a block
// row-major): [sum t*h*w].
std::vector<Position> PatchPositions(std::span<const Grid> grids, size_t merge_size);

}  // namespace qwen3vl::rope
