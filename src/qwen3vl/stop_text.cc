// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/stop_text.h"

#include <algorithm>
#include <utility>

namespace qwen3vl {

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) { std::erase(stops_, ""); }

std::string StopText::Push(std::string_view text) {
  if (stopped_) return "";
  held_ += text;
  size_t met = std::string::npos;
  for (const std::string& stop : stops_) met = std::min(met, held_.find(stop));
  if (met != std::string::npos) {
    stopped_ = true;
    return std::exchange(held_, "").substr(0, met);
  }
  // The longest end of the text that some stop string begins with has to wait.
  size_t wait = 0;
  for (const std::string& stop : stops_)
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > wait; --n)
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) wait = n;
  std::string out = held_.substr(0, held_.size() - wait);
  held_.erase(0, held_.size() - wait);
  return out;
}

std::string StopText::Finish() { return stopped_ ? "" : std::exchange(held_, ""); }

}  // namespace qwen3vl
