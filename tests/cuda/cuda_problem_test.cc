// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/cuda_problem.h"

#include <gtest/gtest.h>

#include "qwen3vl/error.h"

namespace qwen3vl::attention {
namespace {

CudaProblem ProblemOf(const Shape& shape, hw::Format format = hw::Format::kF16, size_t multiprocessors = 10) {
  Inputs in;
  in.shape = shape;
  in.k.format = in.v.format = format;
  return MakeCudaProblem(in, multiprocessors);
}

TEST(CudaProblem, TakesTheNextHeadDimThereIs) {
  for (const auto& [head_dim, kernel] :
       {std::pair<size_t, unsigned>{1, 64}, {64, 64}, {65, 72}, {72, 72}, {80, 80}, {96, 128}, {128, 128}})
    EXPECT_EQ(ProblemOf({1, 100, 100, 2, 2, head_dim}).head_dim, kernel);
  // q8_0 has blocks of 32.
  EXPECT_EQ(ProblemOf({1, 100, 100, 2, 2, 32}, hw::Format::kQ8_0).head_dim, 64u);
  EXPECT_EQ(ProblemOf({1, 100, 100, 2, 2, 96}, hw::Format::kQ8_0).head_dim, 128u);
}

TEST(CudaProblem, StoresWhatHasNoKernelAsFloats) {
  EXPECT_EQ(ProblemOf({}, hw::Format::kF16).format, gpu::KvFormat::kF16);
  EXPECT_EQ(ProblemOf({}, hw::Format::kBF16).format, gpu::KvFormat::kF32);
  EXPECT_EQ(ProblemOf({}, hw::Format::kQ8_0).format, gpu::KvFormat::kQ8_0);
}

TEST(CudaProblem, FewRowsAreSplitAlongTheKeys) {
  EXPECT_TRUE(ProblemOf({1, 1, 4096, 32, 8, 128}).decode);
  EXPECT_TRUE(ProblemOf({1, 2, 4096, 32, 8, 128}).decode);
  EXPECT_FALSE(ProblemOf({1, 3, 4096, 32, 8, 128}).decode);
  EXPECT_EQ(ProblemOf({1, 512, 4096, 32, 8, 128}).row_blocks, 32u);  // 512 * 4 rows in blocks of 64
}

// The numbers of GPUs with 3 (MX150), 10 (GTX 1060) and 28 (GTX 1080 Ti) multiprocessors, 8 kv heads.
TEST(ChooseSplits, FillsTheDevice) {
  EXPECT_EQ(ChooseSplits(8, 4096, 3), 1u);    // 8 blocks of 9; up to four waves are never fuller
  EXPECT_EQ(ChooseSplits(8, 4096, 10), 7u);   // 56 blocks: two waves of 30
  EXPECT_EQ(ChooseSplits(8, 4096, 28), 10u);  // 80 blocks: one wave of 84
}

TEST(ChooseSplits, AreNeverMoreThanThereIsRoomFor) {
  for (const size_t multiprocessors : {1, 3, 5, 10, 28, 132})
    for (const size_t blocks : {1, 2, 4, 7, 8, 16, 64})
      for (const size_t kv_len : {1, 200, 1000, 4096, 40000})
        EXPECT_LE(ChooseSplits(blocks, kv_len, multiprocessors), MaxSplits(blocks, kv_len, multiprocessors))
            << blocks << " blocks, " << kv_len << " keys, " << multiprocessors << " multiprocessors";
}

TEST(ChooseSplits, LeavesEachSplitATile) {
  EXPECT_EQ(ChooseSplits(8, 300, 28), 2u);
  EXPECT_EQ(ChooseSplits(8, 1, 28), 1u);
  EXPECT_EQ(ChooseSplits(8, 0, 28), 1u);
  EXPECT_EQ(ChooseSplits(1000, 4096, 28), 1u);  // full without splits
}

TEST(CudaProblem, BytesAreKnownBeforehand) {
  // GTX 1060, one token of a 4096 token f16 cache: K and V 2 * 8 * 4096 * 128 * 2 bytes; q, out, partial sums
  // and their statistics besides.
  const CudaLayout at = ProblemOf({1, 1, 4096, 32, 8, 128}).layout;
  EXPECT_EQ(at.v - at.k, size_t{8} * 4096 * 128 * 2);
  EXPECT_LT(at.bytes, (size_t{16} << 20) + (size_t{160} << 10));
  EXPECT_EQ(at.partial_stats - at.partial, size_t{32} * 7 * 128 * 4);
  EXPECT_EQ(at.upload_bytes, at.out);
}

TEST(CudaProblem, SizesThatOverflowAreRefused) {
  EXPECT_THROW(ProblemOf({size_t{1} << 30, 1, size_t{1} << 30, 1, 1, 128}), Error);
}

TEST(WhyNotOnCuda, NamesWhatIsMissing) {
  Inputs in;
  in.shape = {1, 4, 4, 2, 2, 128};
  Outputs out;
  EXPECT_EQ(WhyNotOnCuda(in, out), "");
  in.softcap = 5;
  EXPECT_EQ(WhyNotOnCuda(in, out), "cuda: there is no softcap");
  in.softcap = 0;
  in.shape.head_dim = 129;
  EXPECT_EQ(WhyNotOnCuda(in, out), "cuda: head_dim 129 is over 128");
  in.shape.head_dim = 64;
  in.shape.batch = 65536;
  EXPECT_NE(WhyNotOnCuda(in, out), "");
}

}  // namespace
}  // namespace qwen3vl::attention
