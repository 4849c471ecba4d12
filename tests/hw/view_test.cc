// SPDX-License-Identifier: Apache-2.0
#include "hw/view.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace qwen3vl::hw {
namespace {

class ViewTest : public testing::Test {
 protected:
  ViewTest() : values_(5 * 8) { std::iota(values_.begin(), values_.end(), 0); }
  std::vector<int> values_;  // [5, 8], element = 8 * row + col
};

TEST_F(ViewTest, RowsAreAStrideApart) {
  const MatrixView<int> view(values_.data(), 5, 6, 8);
  EXPECT_EQ(view.row(3)[2], 26);
  EXPECT_EQ(MatrixView<int>(values_.data(), 4, 10).row(3)[2], 32);
}

TEST_F(ViewTest, PartsKeepTheStride) {
  const MatrixView<int> part = MatrixView<int>(values_.data(), 5, 8).Rows(1, 3).Cols(2, 4);
  EXPECT_EQ(part.rows, 3u);
  EXPECT_EQ(part.cols, 4u);
  EXPECT_EQ(part.row(2)[1], 8 * 3 + 3);
  EXPECT_EQ(part.Rows(3, 0).rows, 0u);  // empty at the end
}

TEST_F(ViewTest, MutableServesAsConst) {
  MatrixView<int> view(values_.data(), 5, 8);
  const MatrixView<const int> read = view;
  view.row(1)[1] = -1;
  EXPECT_EQ(read.row(1)[1], -1);
}

}  // namespace
}  // namespace qwen3vl::hw
