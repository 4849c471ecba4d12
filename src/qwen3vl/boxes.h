// SPDX-License-Identifier: Apache-2.0
// Boxes in answers, as Qwen3-VL gives them ({"bbox_2d": [x1, y1, x2, y2], "label": "..."} on a 0 to 1000
// scale), and drawn onto the picture.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {

struct Box {
  std::array<double, 4> corners{};  // left, top, right, bottom; 0 to 1000 of the picture's sides
  std::string label;                // empty: none given
};

// All boxes of an answer in their order, also from one that is cut off or has text around the JSON. What is
// no four numbers is passed over.
std::vector<Box> FindBoxes(std::string_view answer);

struct BoxPen {
  const char* name;
  std::array<uint8_t, 3> rgb;
};
// What the i-th box is drawn with.
const BoxPen& PenOfBox(size_t i);

// Outlines in changing colours, `picture` unchanged inside and outside of them. Corners beyond the picture
// are moved to its edge, crossed ones put in order.
Picture DrawBoxes(const Picture& picture, const std::vector<Box>& boxes);

}  // namespace qwen3vl
