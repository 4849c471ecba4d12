// SPDX-License-Identifier: Apache-2.0
#include "hw/number_format.h"

#include <algorithm>
#include <cctype>

namespace qwen3vl::hw {

std::optional<Format> FormatFromName(std::string_view name) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (size_t i = 0; i < kFormatCount; ++i)
    if (std::ranges::equal(name, kFormatInfo[i].name, same)) return static_cast<Format>(i);
  return std::nullopt;
}

}  // namespace qwen3vl::hw
