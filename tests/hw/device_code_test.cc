// SPDX-License-Identifier: Apache-2.0
#include "hw/device_code.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/gzip.h"

namespace qwen3vl::hw {
namespace {

std::string Text() {
  std::string text = ".version 6.0\n";
  for (int i = 0; i < 500; ++i) text += "\tadd.f32 %f" + std::to_string(i * i % 97) + ", %f1, %f2;\n";
  return text;
}

void ExpectDamaged(const std::string& gzip, size_t bytes, const std::string& what) {
  SCOPED_TRACE(what);
  EXPECT_ERROR(ErrorCode::kCorruptFile, "device code module_name in this program is damaged (",
               PtxText({61, "module_name", gzip, bytes}));
}

TEST(DeviceCode, TextIsUnpackedAsItWas) {
  EXPECT_EQ(PtxText({61, "module_name", test::Gzip(Text()), Text().size()}), Text());
}

// The first 10 bytes are the header, which says little about the text.
TEST(DeviceCode, EveryDamagedByteIsSeen) {
  const std::string gzip = test::Gzip(Text());
  for (size_t i = 10; i < gzip.size(); ++i) {
    std::string damaged = gzip;
    damaged[i] = static_cast<char>(~damaged[i]);
    ExpectDamaged(damaged, Text().size(), "byte " + std::to_string(i));
  }
}

TEST(DeviceCode, WrongSizesAreSeen) {
  const std::string gzip = test::Gzip(Text());
  for (size_t length = 0; length < gzip.size(); ++length)
    ExpectDamaged(gzip.substr(0, length), Text().size(), "the first " + std::to_string(length));
  ExpectDamaged(gzip + '\0', Text().size(), "one more packed");
  ExpectDamaged(gzip, Text().size() - 1, "one less");
  ExpectDamaged(gzip, Text().size() + 1, "one more");
}

TEST(DeviceCode, WhatIsNotPackedIsSeen) { ExpectDamaged(Text(), Text().size(), "plain text"); }

}  // namespace
}  // namespace qwen3vl::hw
