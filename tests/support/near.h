// SPDX-License-Identifier: Apache-2.0
// Comparison of number arrays that says where they differ most: EXPECT_TRUE(AllNear(found, wanted, 1e-5)).
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <vector>

namespace qwen3vl::test {

// Every |found[i] - wanted[i]| <= tolerance. NaN equals nothing; an infinity only itself. The failure text
// names how many differ and, for the worst one, its index, found and wanted.
testing::AssertionResult AllNear(std::span<const float> found, std::span<const float> wanted,
                                 double tolerance);
testing::AssertionResult AllNear(std::span<const float> found, std::span<const double> wanted,
                                 double tolerance);

// The same for rows x cols arrays: the failure text names row and column.
testing::AssertionResult AllNear(std::span<const float> found, std::span<const float> wanted, size_t cols,
                                 double tolerance);

// |found - wanted| / |wanted| in the Euclidean norm; |found| when wanted is all zero. Infinity when the sizes
// differ.
double RelativeError(std::span<const float> found, std::span<const float> wanted);
double RelativeError(std::span<const float> found, std::span<const double> wanted);

}  // namespace qwen3vl::test
