// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/boxes.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace qwen3vl {
namespace {

constexpr std::string_view kKey = "\"bbox_2d\"";
constexpr double kScale = 1000;

constexpr std::array<BoxPen, 6> kPens{{{"magenta", {255, 0, 255}},
                                       {"cyan", {0, 255, 255}},
                                       {"lime", {0, 255, 0}},
                                       {"orange", {255, 140, 0}},
                                       {"yellow", {255, 255, 0}},
                                       {"blue", {0, 64, 255}}}};

bool ReadBox(const nlohmann::json& object, Box& box) {
  if (!object.is_object()) return false;
  const auto corners = object.find("bbox_2d");
  if (corners == object.end() || !corners->is_array() || corners->size() != box.corners.size()) return false;
  for (size_t i = 0; i < box.corners.size(); ++i) {
    if (!(*corners)[i].is_number()) return false;
    box.corners[i] = (*corners)[i].get<double>();
  }
  const auto label = object.find("label");
  if (label != object.end() && label->is_string()) box.label = label->get<std::string>();
  return true;
}

// Pixel range [first, last) that two corners of one axis span, in order and at least one pixel wide.
std::pair<size_t, size_t> Span(double a, double b, size_t side) {
  const double pixels = static_cast<double>(side);
  const auto at = [&](double corner) {
    return std::clamp(std::round(corner / kScale * pixels), 0.0, pixels);
  };
  const size_t first = std::min(static_cast<size_t>(at(std::min(a, b))), side - 1);
  return {first, std::max(static_cast<size_t>(at(std::max(a, b))), first + 1)};
}

void Outline(Picture& picture, const Box& box, const BoxPen& pen) {
  const auto [left, right] = Span(box.corners[0], box.corners[2], picture.width);
  const auto [top, bottom] = Span(box.corners[1], box.corners[3], picture.height);
  const size_t width = std::max<size_t>(2, std::min(picture.width, picture.height) / 150);
  const auto edge = [width](size_t i, size_t first, size_t last) {
    return i < first + width || i + width >= last;
  };
  for (size_t y = top; y < bottom; ++y)
    for (size_t x = left; x < right; ++x)
      if (edge(x, left, right) || edge(y, top, bottom))
        std::copy(pen.rgb.begin(), pen.rgb.end(), &picture.pixels[(y * picture.width + x) * 3]);
}

}  // namespace

std::vector<Box> FindBoxes(std::string_view answer) {
  std::vector<Box> boxes;
  for (size_t key = answer.find(kKey); key != answer.npos; key = answer.find(kKey, key + kKey.size())) {
    const size_t open = answer.rfind('{', key), close = answer.find('}', key);
    if (open == answer.npos || close == answer.npos) continue;
    const nlohmann::json object =
        nlohmann::json::parse(answer.substr(open, close + 1 - open), nullptr, /*allow_exceptions=*/false);
    Box box;
    if (ReadBox(object, box)) boxes.push_back(std::move(box));
  }
  return boxes;
}

const BoxPen& PenOfBox(size_t i) { return kPens[i % kPens.size()]; }

Picture DrawBoxes(const Picture& picture, const std::vector<Box>& boxes) {
  Picture out = picture;
  for (size_t i = 0; i < boxes.size(); ++i) Outline(out, boxes[i], PenOfBox(i));
  return out;
}

}  // namespace qwen3vl
