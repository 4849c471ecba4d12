// SPDX-License-Identifier: Apache-2.0
#include "hw/number_format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "hw/float16.h"

namespace qwen3vl::hw {

BlockQ8_0 QuantizeQ8_0(const float* values) {
  float largest = 0;
  bool finite = true;
  for (size_t i = 0; i < 32; ++i) {
    finite &= std::isfinite(values[i]);
    largest = std::max(largest, std::abs(values[i]));
  }
  BlockQ8_0 block{};
  if (!finite) {
    block.d = ToF16(std::numeric_limits<float>::quiet_NaN()).bits;
    return block;
  }
  const float scale = largest / 127.0f;
  // That of a subnormal scale, which is 0 in 16 bits, may be infinite.
  const float inverse = std::isnormal(scale) ? 1.0f / scale : 0.0f;
  block.d = ToF16(scale).bits;
  for (size_t i = 0; i < 32; ++i)
    block.q[i] = static_cast<int8_t>(std::nearbyint(std::clamp(values[i] * inverse, -127.0f, 127.0f)));
  return block;
}

std::optional<Format> FormatFromName(std::string_view name) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (size_t i = 0; i < kFormatCount; ++i)
    if (std::ranges::equal(name, kFormatInfo[i].name, same)) return static_cast<Format>(i);
  return std::nullopt;
}

}  // namespace qwen3vl::hw
