// SPDX-License-Identifier: Apache-2.0
#include "hw/number_format.h"

#include <gtest/gtest.h>

namespace qwen3vl::hw {
namespace {

TEST(NumberFormat, EveryNameLeadsBackToItsFormat) {
  for (size_t i = 0; i < kFormatCount; ++i) {
    const Format format = static_cast<Format>(i);
    EXPECT_EQ(FormatFromName(Name(format)), format);
  }
}

TEST(NumberFormat, CaseOfANameDoesNotMatter) {
  EXPECT_EQ(FormatFromName("Q4_K"), Format::kQ4_K);
  EXPECT_EQ(FormatFromName("q4_k"), Format::kQ4_K);
  EXPECT_EQ(FormatFromName("BF16"), Format::kBF16);
}

TEST(NumberFormat, UnknownNamesAreNothing) {
  for (const char* name : {"", "f8", "q4", "q4_K_M", " f16", "f16 "})
    EXPECT_EQ(FormatFromName(name), std::nullopt) << name;
}

// Bits a weight, as everybody quotes these formats: bytes of a block * 8 / elements.
TEST(NumberFormat, BitsPerWeight) {
  const auto bits = [](Format f) { return RowBytes(f, 256) * 8.0 / 256; };
  EXPECT_EQ(bits(Format::kF32), 32);
  EXPECT_EQ(bits(Format::kF16), 16);
  EXPECT_EQ(bits(Format::kBF16), 16);
  EXPECT_EQ(bits(Format::kQ8_0), 8.5);
  EXPECT_EQ(bits(Format::kQ4_0), 4.5);
  EXPECT_EQ(bits(Format::kQ4_1), 5);
  EXPECT_EQ(bits(Format::kQ5_0), 5.5);
  EXPECT_EQ(bits(Format::kQ5_1), 6);
  EXPECT_EQ(bits(Format::kIQ4_NL), 4.5);
  EXPECT_EQ(bits(Format::kMXFP4), 4.25);
  EXPECT_EQ(bits(Format::kQ2_K), 2.625);
  EXPECT_EQ(bits(Format::kQ3_K), 3.4375);
  EXPECT_EQ(bits(Format::kQ4_K), 4.5);
  EXPECT_EQ(bits(Format::kQ5_K), 5.5);
  EXPECT_EQ(bits(Format::kQ6_K), 6.5625);
  EXPECT_EQ(bits(Format::kIQ4_XS), 4.25);
}

TEST(NumberFormat, OnlyBlocksAreQuantised) {
  EXPECT_FALSE(IsQuantized(Format::kF32));
  EXPECT_FALSE(IsQuantized(Format::kBF16));
  EXPECT_TRUE(IsQuantized(Format::kQ8_0));
  EXPECT_TRUE(IsQuantized(Format::kIQ4_XS));
}

}  // namespace
}  // namespace qwen3vl::hw
