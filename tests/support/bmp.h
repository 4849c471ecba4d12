// SPDX-License-Identifier: Apache-2.0
// A black picture of any size as a BMP file: a header, then rows that are padded to four bytes.
#pragma once

#include <cstdint>
#include <string>

namespace qwen3vl::test {

inline std::string BlackBmp(uint32_t width, uint32_t height) {
  const uint32_t row_bytes = (3 * width + 3) / 4 * 4;
  std::string bmp(54 + size_t{row_bytes} * height, '\0');
  const auto put = [&](size_t at, uint32_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) bmp[at + i] = static_cast<char>(value >> (8 * i));
  };
  bmp[0] = 'B', bmp[1] = 'M';
  put(2, static_cast<uint32_t>(bmp.size()), 4), put(10, 54, 4), put(14, 40, 4);
  put(18, width, 4), put(22, height, 4), put(26, 1, 2), put(28, 24, 2), put(34, row_bytes * height, 4);
  return bmp;
}

}  // namespace qwen3vl::test
