// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/device_weight.h"

#include <gtest/gtest.h>

#include "hw/float16.h"
#include "qwen3vl/cuda/quantized_weight.h"

namespace qwen3vl {
namespace {

TEST(DeviceWeight, TakesTheBytesOfTheFileAndNoMoreThanPadding) {
  for (hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0,
                            hw::Format::kQ4_0, hw::Format::kQ4_K, hw::Format::kQ5_K}) {
    const Weight w{.format = format, .rows = 7, .cols = 2560};
    EXPECT_EQ(LayoutOf(w).bytes(), w.bytes()) << hw::Name(format);
  }
  // The scales of 10 blocks, 20 bytes, are padded to 32.
  const Weight w{.format = hw::Format::kQ6_K, .rows = 7, .cols = 2560};
  EXPECT_EQ(LayoutOf(w).bytes(), w.bytes() + 7 * 12);
}

TEST(DeviceWeight, EveryRowBeginsAtSixteenBytes) {
  for (hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kQ8_0, hw::Format::kQ4_0})
    for (size_t cols : {32, 96, 256, 288}) {
      const DeviceWeight layout = LayoutOf({.format = format, .rows = 1, .cols = cols});
      EXPECT_EQ(layout.row_bytes % 16, 0u);
      if (layout.has_codes()) {
        EXPECT_GE(layout.padded_cols(), cols);
        EXPECT_EQ(layout.padded_cols() % 256, 0u);
      }
    }
}

TEST(DeviceWeight, OtherFormatsHaveNoKernel) {
  for (hw::Format format : {hw::Format::kQ3_K, hw::Format::kQ4_1, hw::Format::kIQ4_XS, hw::Format::kQ2_K})
    EXPECT_FALSE(DeviceFormatOf(format)) << hw::Name(format);
}

TEST(DeviceWeight, PacksAPartAsItPacksTheWhole) {
  const test::MadeWeight m = test::MakeWeight(hw::Format::kQ4_0, 5, 288, 3);
  const DeviceWeight layout = LayoutOf(m.w);
  std::vector<std::byte> whole(layout.bytes()), part(2 * layout.row_bytes, std::byte{0xff});
  PackRows(m.w, layout, 0, 5, whole.data());
  PackRows(m.w, layout, 2, 2, part.data());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 2 * layout.row_bytes));
}

}  // namespace
}  // namespace qwen3vl
