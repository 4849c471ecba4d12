// SPDX-License-Identifier: Apache-2.0
// The reference is arithmetic in double, from the definition of the formats: it shares no bit trick with the
// code under test.
#include "hw/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace qwen3vl::hw {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The number a finite half stands for: 5 exponent bits biased by 15, 10 mantissa bits.
double HalfValue(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

bool IsFiniteHalf(uint16_t bits) { return (bits & 0x7c00) != 0x7c00; }

TEST(Float16, EveryHalfConvertsExactly) {
  for (uint32_t b = 0; b < 65536; ++b) {
    const uint16_t bits = static_cast<uint16_t>(b);
    const float x = ToFloat(F16{bits});
    ASSERT_EQ(std::signbit(x), bits >= 0x8000) << bits;
    if (IsFiniteHalf(bits))
      ASSERT_EQ(x, HalfValue(bits)) << bits;
    else if (bits & 0x3ff)
      ASSERT_TRUE(std::isnan(x)) << bits;
    else
      ASSERT_TRUE(std::isinf(x)) << bits;
  }
}

TEST(Float16, EveryHalfSurvivesTheWayThere) {
  for (uint32_t b = 0; b < 65536; ++b) {
    const uint16_t bits = static_cast<uint16_t>(b);
    const uint16_t back = ToF16(ToFloat(F16{bits})).bits;
    if (IsFiniteHalf(bits) || !(bits & 0x3ff))
      ASSERT_EQ(back, bits);
    else
      ASSERT_TRUE((back & 0x7c00) == 0x7c00 && (back & 0x3ff)) << bits;
  }
}

// Between each two neighbours: the middle goes to the even one, and the floats on either side of it to the
// nearer. Covers subnormals, the step to normals and the step to infinity.
TEST(Float16, RoundsToNearestTiesToEven) {
  for (uint16_t low = 0; low < 0x7c00; ++low) {
    const uint16_t high = low + 1;
    const double next = high == 0x7c00 ? 65536.0 : HalfValue(high);
    const float middle = static_cast<float>((HalfValue(low) + next) / 2);  // exact: 12 bits
    ASSERT_EQ(ToF16(middle).bits, low % 2 ? high : low) << low;
    ASSERT_EQ(ToF16(std::nextafter(middle, 0.0f)).bits, low) << low;
    ASSERT_EQ(ToF16(std::nextafter(middle, kInf)).bits, high) << low;
    ASSERT_EQ(ToF16(-middle).bits, 0x8000 | (low % 2 ? high : low)) << low;
  }
}

TEST(Float16, ExtremesOfFloat) {
  EXPECT_EQ(ToF16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(ToF16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(ToF16(-kInf).bits, 0xfc00);
  EXPECT_EQ(ToF16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(ToF16(-0.0f).bits, 0x8000);
  EXPECT_TRUE(std::isnan(ToFloat(ToF16(kNan))));
  EXPECT_TRUE(std::isnan(ToFloat(ToF16(std::bit_cast<float>(0x7f800001u)))));  // a NaN with low bits only
}

TEST(BFloat16, EveryValueSurvivesTheWayThere) {
  for (uint32_t b = 0; b < 65536; ++b) {
    const BF16 x{static_cast<uint16_t>(b)};
    const float f = ToFloat(x);
    if (std::isnan(f))
      ASSERT_TRUE(std::isnan(ToFloat(ToBF16(f)))) << b;
    else
      ASSERT_EQ(ToBF16(f).bits, x.bits) << b;
  }
}

TEST(BFloat16, RoundsToNearestTiesToEven) {
  for (uint16_t low = 0; low < 0x7f80; ++low) {
    const uint16_t high = low + 1;
    const float middle = std::bit_cast<float>(static_cast<uint32_t>(low) << 16 | 0x8000u);
    ASSERT_EQ(ToBF16(middle).bits, low % 2 ? high : low) << low;
    ASSERT_EQ(ToBF16(std::nextafter(middle, 0.0f)).bits, low) << low;
    ASSERT_EQ(ToBF16(std::nextafter(middle, kInf)).bits, high) << low;
    ASSERT_EQ(ToBF16(-middle).bits, 0x8000 | (low % 2 ? high : low)) << low;
  }
}

TEST(BFloat16, ExtremesOfFloat) {
  EXPECT_EQ(ToBF16(kInf).bits, 0x7f80);
  EXPECT_EQ(ToBF16(std::numeric_limits<float>::max()).bits, 0x7f80);  // nearer to 2^128 than to the largest
  EXPECT_TRUE(std::isnan(ToFloat(ToBF16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(ToFloat(ToBF16(std::bit_cast<float>(0xffffffffu)))));
}

}  // namespace
}  // namespace qwen3vl::hw
