// SPDX-License-Identifier: Apache-2.0
#include "cuda/kernel_arrays.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace qwen3vl::gpu {
namespace {

using testing::ElementsAre;

struct Params {
  const float* in;
  float* out;
  const float* none;
};

// Arrays of three floats.
EmulatedKernel Kernel() {
  return MakeEmulatedKernel<Params>(
      "kernel", "module", 32, [](const Params&) {},
      [](const Params&, Grid) {
        return std::vector<KernelArray>{{offsetof(Params, in), 12, false},
                                        {offsetof(Params, out), 12, true},
                                        {offsetof(Params, none), 12, false}};
      });
}

class KernelArraysTest : public testing::Test {
 protected:
  std::vector<float> in_ = {1, 2, 3}, out_ = {4, 5, 6};
  Params given_{in_.data(), out_.data(), nullptr};
  const EmulatedKernel kernel_ = Kernel();
  const KernelArrays arrays_{&given_, kernel_, {}};
  const Params& copied_ = *reinterpret_cast<const Params*>(arrays_.parameters().data());
};

TEST_F(KernelArraysTest, WhatMayBeWrittenGoesBack) {
  EXPECT_EQ(copied_.in[2], 3);
  EXPECT_EQ(copied_.none, nullptr);
  const_cast<float*>(copied_.in)[0] = 10;
  copied_.out[2] = 60;
  EXPECT_THAT(out_, ElementsAre(4, 5, 6));
  arrays_.CopyBack();
  EXPECT_THAT(in_, ElementsAre(1, 2, 3));
  EXPECT_THAT(out_, ElementsAre(4, 5, 60));
}

TEST_F(KernelArraysTest, WritingBesideAnArrayIsNoticed) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer ends the program at such a write";
#endif
  for (const int at : {-1, 3}) {
    const float before = copied_.out[at];
    copied_.out[at] = 7;
    EXPECT_THROW(arrays_.CopyBack(), std::runtime_error) << at;
    copied_.out[at] = before;
  }
  arrays_.CopyBack();
}

}  // namespace
}  // namespace qwen3vl::gpu
