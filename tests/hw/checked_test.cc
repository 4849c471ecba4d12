// SPDX-License-Identifier: Apache-2.0
#include "hw/checked.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace qwen3vl::hw {
namespace {

// Runs `f`, which must throw kInvalidArgument with a text that names "tensor x".
template <class F>
void ExpectOverflow(const F& f) {
  try {
    f();
    FAIL() << "no overflow reported";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(e.what(), testing::HasSubstr("tensor x: size overflows"));
  }
}

TEST(Checked, ResultsThatFitAreExact) {
  EXPECT_EQ(CheckedMul(SIZE_MAX, 1, "x"), SIZE_MAX);
  EXPECT_EQ(CheckedMul(0, SIZE_MAX, "x"), 0u);
  EXPECT_EQ(CheckedMul(size_t{1} << 32, (size_t{1} << 32) - 1, "x"), 0xffffffff00000000u);
  EXPECT_EQ(CheckedAdd(SIZE_MAX - 1, 1, "x"), SIZE_MAX);
  EXPECT_EQ(CheckedProduct({2, 3, 7}, "x"), 42u);
  EXPECT_EQ(CheckedProduct({}, "x"), 1u);
  EXPECT_EQ(CheckedProduct(std::vector<uint32_t>{1u << 31, 4}, "x"), size_t{1} << 33);
}

TEST(Checked, OverflowIsAnErrorThatNamesTheThing) {
  ExpectOverflow([] { CheckedMul(size_t{1} << 32, size_t{1} << 32, "tensor x"); });
  ExpectOverflow([] { CheckedAdd(SIZE_MAX, 1, "tensor x"); });
  ExpectOverflow([] { CheckedProduct({3, SIZE_MAX / 2}, "tensor x"); });
  // A zero after the overflow does not excuse it: the order of dimensions must not decide.
  ExpectOverflow([] { CheckedProduct({SIZE_MAX, 2, 0}, "tensor x"); });
}

}  // namespace
}  // namespace qwen3vl::hw
