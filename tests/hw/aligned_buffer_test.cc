// SPDX-License-Identifier: Apache-2.0
#include "hw/aligned_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace qwen3vl::hw {
namespace {

TEST(AlignedBuffer, StartsOnACacheLineForEverySize) {
  for (size_t size = 1; size < 200; ++size) {
    AlignedBuffer<char> buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer<char>::kAlignment, 0u);
    EXPECT_EQ(buffer.size(), size);
    buffer[size - 1] = 'x';  // inside the allocation, or the address sanitizer speaks up
  }
}

TEST(AlignedBuffer, ZeroedIsZero) {
  const auto buffer = AlignedBuffer<float>::Zeroed(1000);
  EXPECT_TRUE(std::ranges::all_of(buffer.span(), [](float x) { return x == 0; }));
  EXPECT_EQ(buffer.bytes(), 4000u);
}

TEST(AlignedBuffer, EmptyHasNoMemory) {
  EXPECT_EQ(AlignedBuffer<int>().data(), nullptr);
  EXPECT_EQ(AlignedBuffer<int>(0).data(), nullptr);
  EXPECT_TRUE(AlignedBuffer<int>::Zeroed(0).span().empty());
}

TEST(AlignedBuffer, ReserveGrowsOnly) {
  AlignedBuffer<int> buffer(100);
  const int* data = buffer.data();
  buffer.Reserve(50);
  EXPECT_EQ(buffer.data(), data);
  EXPECT_EQ(buffer.size(), 100u);
  buffer.Reserve(1000);
  EXPECT_EQ(buffer.size(), 1000u);
}

TEST(AlignedBuffer, MovesAndLeavesAnEmptyOneBehind) {
  static_assert(!std::is_copy_constructible_v<AlignedBuffer<int>>);
  AlignedBuffer<int> a(10);
  const int* data = a.data();
  const AlignedBuffer<int> b = std::move(a);
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
  EXPECT_EQ(a.size(), 0u);
  a.Reserve(5);
  EXPECT_NE(a.data(), nullptr);
}

TEST(AlignedBuffer, ImpossibleSizesThrow) {
  EXPECT_THROW(AlignedBuffer<double>(SIZE_MAX / 4), Error);  // bytes overflow
  EXPECT_THROW(AlignedBuffer<char>(SIZE_MAX - 10), Error);   // rounding up overflows
}

}  // namespace
}  // namespace qwen3vl::hw
