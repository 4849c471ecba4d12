// SPDX-License-Identifier: Apache-2.0
// Tables and scale packings of the block formats, shared by the scalar dequantiser and the SIMD products.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace qwen3vl {

// What the 4-bit codes of IQ4_NL and IQ4_XS stand for.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};
// Twice the E2M1 values of MXFP4.
inline constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128), subnormal for e = 0 and 1.
inline float Mxfp4Scale(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : static_cast<uint32_t>(e - 1) << 23);
}

// 8 scales and 8 minima of 6 bits in 12 bytes (Q4_K, Q5_K), four bytes at a time.
inline void UnpackQ4KScales(const uint8_t* c, uint8_t* scales, uint8_t* mins) {
  uint32_t in[3];
  std::memcpy(in, c, sizeof in);
  const auto join = [](uint32_t low, uint32_t high) { return low | static_cast<uint64_t>(high) << 32; };
  const uint64_t all_scales =
      join(in[0] & 0x3f3f3f3fu, (in[2] & 0x0f0f0f0fu) | ((in[0] >> 6 & 0x03030303u) << 4));
  const uint64_t all_mins =
      join(in[1] & 0x3f3f3f3fu, (in[2] >> 4 & 0x0f0f0f0fu) | ((in[1] >> 6 & 0x03030303u) << 4));
  std::memcpy(scales, &all_scales, 8);
  std::memcpy(mins, &all_mins, 8);
}

// 16 signed scales of 6 bits in 12 bytes (Q3_K): the low nibbles of 8 and 8, then the high pairs of 4 a bit
// position. Eight bytes at a time; adding 96 - 128 makes code - 32 of every byte without a borrow.
inline void UnpackQ3KScales(const uint8_t* c, int8_t* scales) {
  uint64_t low;
  uint32_t high;
  std::memcpy(&low, c, 8);
  std::memcpy(&high, c + 8, 4);
  for (int half = 0; half < 2; ++half) {
    const uint64_t pairs = (high >> (4 * half) & 0x03030303u) |
                           static_cast<uint64_t>(high >> (4 * half + 2) & 0x03030303u) << 32;
    const uint64_t codes = (low >> (4 * half) & 0x0f0f0f0f0f0f0f0fu) | pairs << 4;
    const uint64_t signed_codes = (codes + 0x6060606060606060u) ^ 0x8080808080808080u;
    std::memcpy(scales + 8 * half, &signed_codes, 8);
  }
}

// 8 signed scales of 6 bits: the high pairs in 2 bytes, then the low nibbles in 4 (IQ4_XS).
inline void UnpackIq4XsScales(const uint8_t* c, int8_t* scales) {
  const unsigned high = c[0] | static_cast<unsigned>(c[1]) << 8;
  for (size_t j = 0; j < 8; ++j) {
    const unsigned low = (c[2 + j / 2] >> (4 * (j % 2))) & 15;
    scales[j] = static_cast<int8_t>(static_cast<int>(low | ((high >> (2 * j)) & 3) << 4) - 32);
  }
}

}  // namespace qwen3vl
