// SPDX-License-Identifier: Apache-2.0
// Storage types for 16-bit floats and their exact scalar conversions (round to nearest, ties to even).
// Kernels convert vectors of them with Highway; this is for single values, tests and fallbacks.
#pragma once

#include <bit>
#include <cstdint>

namespace qwen3vl::hw {

struct F16 {  // IEEE 754 binary16
  uint16_t bits;
};
struct BF16 {  // upper half of a binary32
  uint16_t bits;
};

inline float ToFloat(BF16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

inline float ToFloat(F16 x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  const uint32_t magnitude = x.bits & 0x7fffu;
  // Shifting exponent and mantissa into place leaves a value 2^112 too small; the product also fixes
  // subnormals.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t inf_or_nan = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(sign | inf_or_nan | std::bit_cast<uint32_t>(scaled));
}

inline BF16 ToBF16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<uint16_t>((u >> 16) | 0x40u)};  // keep NaN a quiet NaN
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

// Without branches, so that a loop over it becomes vectors.
inline F16 ToF16(float x) {
  const auto choose = [](bool first, uint32_t a, uint32_t b) {
    const uint32_t mask = -static_cast<uint32_t>(first);
    return (a & mask) | (b & ~mask);
  };
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const int32_t magnitude = static_cast<int32_t>(u & 0x7fffffffu);
  const int32_t normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000) >> 13;
  // Adding 0.5 lets the FPU round a subnormal half at the right bit.
  const int32_t subnormal = std::bit_cast<int32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  uint32_t bits = choose(magnitude < 0x38800000, subnormal, normal);
  bits = choose(magnitude >= 0x477ff000, 0x7c00, bits);  // rounds to 65536 or more
  bits = choose(magnitude > 0x7f800000, 0x7e00, bits);
  return {static_cast<uint16_t>(bits | ((u >> 16) & 0x8000u))};
}

}  // namespace qwen3vl::hw
