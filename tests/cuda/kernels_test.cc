// SPDX-License-Identifier: Apache-2.0
// The GPU kernels against float64, over the case table of the CPU kernels and over sizes around their own
// tiles: the whole host path on the stand-in driver, whose launches run the kernel sources on the block
// emulator.
#include <gtest/gtest.h>

#include "attention/kv_cache.h"
#include "cuda/fake_device.h"
#include "cuda/kernel_cases.h"
#include "support/near.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionCase;
using test::AttentionTensors;
using test::CudaResult;
using test::ExpectReference;
using test::FakeCuda;
using test::Int8Tolerance;
using test::Rounded;
using test::RunOnCuda;

const Options kInt8Scores{.gpu_scores = GpuScores::kInt8};

class CudaKernelsTest : public testing::TestWithParam<AttentionCase> {};
class CudaKernelsCacheTest : public CudaKernelsTest {};
class CudaKernelsLeftToCpuTest : public CudaKernelsTest {};

TEST_P(CudaKernelsTest, MatchFloat64WithBothTiles) {
  const AttentionTensors t(GetParam());
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  for (const auto& [gpu, tile] : {std::pair{"one", 128u}, {"ampere", 256u}}) {
    SCOPED_TRACE(gpu);
    FakeCuda fake(gpu);
    CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    const CudaResult r = RunOnCuda(device, t.inputs());
    ASSERT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
    EXPECT_EQ(r.tile, tile);
    ExpectReference(r, ref);
  }
}

TEST_P(CudaKernelsLeftToCpuTest, SaySo) {
  const AttentionTensors t(GetParam());
  for (const char* gpu : {"one", "ampere"}) {
    SCOPED_TRACE(gpu);
    FakeCuda fake(gpu);
    CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    EXPECT_EQ(RunOnCuda(device, t.inputs()).outcome.cause, FallbackCause::kUnsupported);
  }
}

TEST_P(CudaKernelsTest, Int8ScoresAreThoseOfRoundedRows) {
  const AttentionCase& c = GetParam();
  const AttentionTensors t(c);
  AttentionTensors rounded(t);
  rounded.q = Rounded(t.q, c.shape.head_dim);
  const bool decode = MakeCudaProblem(t.inputs(), 5).decode;  // few rows of float keys: fp32 scores
  const test::AttentionReference ref = Reference(t, t.k, t.v),
                                 rounded_ref =
                                     decode ? ref : Reference(rounded, Rounded(t.k, c.shape.head_dim), t.v);
  for (const char* gpu : {"one", "ampere"}) {
    SCOPED_TRACE(gpu);
    FakeCuda fake(gpu);
    CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    const CudaResult r = RunOnCuda(device, t.inputs(), kInt8Scores);
    ASSERT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
    ExpectReference(r, rounded_ref);
    EXPECT_LE(test::RelativeError(r.out, ref.out), Int8Tolerance(c));
  }
}

// Where no thread waits for another one by accident, the order of their turns makes no difference.
TEST_P(CudaKernelsTest, ThreadOrderLeavesNoTrace) {
  const AttentionTensors t(GetParam());
  FakeCuda fake;
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  for (const Options& options : {Options{}, kInt8Scores}) {
    fake.Order("");
    const CudaResult forward = RunOnCuda(device, t.inputs(), options);
    for (const char* order : {"reverse", "shuffled"}) {
      fake.Order(order);
      const CudaResult r = RunOnCuda(device, t.inputs(), options);
      EXPECT_EQ(r.out, forward.out) << order;
      EXPECT_EQ(r.lse, forward.lse) << order;
    }
  }
}

TEST_P(CudaKernelsCacheTest, ReadEveryFormat) {
  const AttentionCase& c = GetParam();
  const Shape& s = c.shape;
  const AttentionTensors t(c);
  for (hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0}) {
    if (format == hw::Format::kQ8_0 && s.head_dim % 32 != 0) continue;  // no such cache
    SCOPED_TRACE(hw::Name(format));
    KvCache cache({.n_layers = 1,
                   .n_kv_heads = s.n_kv_heads,
                   .head_dim = s.head_dim,
                   .capacity = s.kv_len + 3,
                   .format = format});
    const size_t width = s.n_kv_heads * s.head_dim;
    cache.Append(0, {t.k.data(), s.kv_len, width}, {t.v.data(), s.kv_len, width});
    std::vector<float> k(t.k.size()), v(t.v.size());  // what the cache holds
    for (size_t pos = 0; pos < s.kv_len; ++pos)
      for (size_t h = 0; h < s.n_kv_heads; ++h) {
        cache.ReadK(0, h, pos, &k[(pos * s.n_kv_heads + h) * s.head_dim]);
        cache.ReadV(0, h, pos, &v[(pos * s.n_kv_heads + h) * s.head_dim]);
      }
    Inputs in = t.inputs();
    in.cache = &cache.layer(0);
    FakeCuda fake;
    CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    const CudaResult r = RunOnCuda(device, in);
    ASSERT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
    ExpectReference(r, Reference(t, k, v));
    const CudaResult int8 = RunOnCuda(device, in, kInt8Scores);
    ASSERT_EQ(int8.outcome.cause, FallbackCause::kNone) << int8.outcome.sentence;
    const bool stored = format == hw::Format::kQ8_0;
    if (MakeCudaProblem(in, 5).decode && !stored) {
      EXPECT_EQ(int8.out, r.out);
      continue;
    }
    AttentionTensors rounded(t);
    rounded.q = Rounded(t.q, s.head_dim);
    ExpectReference(int8, Reference(rounded, stored ? k : Rounded(k, s.head_dim), v));
  }
}

std::string NameOf(const testing::TestParamInfo<AttentionCase>& c) { return c.param.name; }

INSTANTIATE_TEST_SUITE_P(Table, CudaKernelsTest, testing::ValuesIn(test::SupportedCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Table, CudaKernelsCacheTest,
                         testing::ValuesIn(test::CacheCases(test::SupportedCases())), NameOf);
INSTANTIATE_TEST_SUITE_P(Table, CudaKernelsLeftToCpuTest, testing::ValuesIn(test::UnsupportedCases()),
                         NameOf);

TEST(CudaKernels, PaddingOfABatchMayHoldAnything) {
  const AttentionCase c{.name = "", .shape = {2, 3, 200, 4, 2, 64}, .kv_lengths = {200, 40}};
  AttentionTensors t(c);
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  for (size_t pos = 40; pos < 200; ++pos)
    for (size_t i = 0; i < 2 * 64; ++i) t.k[(200 + pos) * 128 + i] = t.v[(200 + pos) * 128 + i] = NAN;
  FakeCuda fake;
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  ExpectReference(RunOnCuda(device, t.inputs()), ref);
}

TEST(CudaKernels, InfinityInAHiddenValueGoesToTheCpu) {
  const AttentionCase c{.name = "", .shape = {1, 8, 8, 2, 2, 64}, .causal = true};
  AttentionTensors t(c);
  t.v.back() = INFINITY;
  FakeCuda fake;
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  const CudaResult r = RunOnCuda(device, t.inputs());
  EXPECT_EQ(r.outcome.cause, FallbackCause::kUnsupported);
  EXPECT_NE(r.outcome.sentence.find("not finite"), std::string::npos) << r.outcome.sentence;
}

// A NaN in a q row spoils its own result, in a k row that of all who see it; 8 bits say so too.
TEST(CudaKernels, NaNReachesTheResult) {
  for (const size_t q_len : {size_t{16}, size_t{1}})  // prefill, decode
    for (const bool query : {true, false})
      for (const hw::Format format : {hw::Format::kF32, hw::Format::kQ8_0}) {
        if (!query && format == hw::Format::kQ8_0) continue;  // it has no NaN
        SCOPED_TRACE(testing::Message() << q_len << " " << hw::Name(format) << " " << query);
        const AttentionCase c{.name = "", .shape = {1, q_len, 16, 2, 2, 64}, .causal = true};
        AttentionTensors t(c);
        std::vector<float>& spoilt = query ? t.q : t.k;
        std::fill_n(spoilt.begin() + 64, 64, NAN);  // the second head of the first row
        KvCache cache({.n_layers = 1, .n_kv_heads = 2, .head_dim = 64, .capacity = 16, .format = format});
        cache.Append(0, {t.k.data(), 16, 128}, {t.v.data(), 16, 128});
        Inputs in = t.inputs();
        in.cache = &cache.layer(0);
        FakeCuda fake;
        CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
        for (const Options& options : {Options{}, kInt8Scores}) {
          const CudaResult r = RunOnCuda(device, in, options);
          EXPECT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
          for (size_t row = 0; row < q_len; ++row) {
            EXPECT_TRUE(std::isfinite(r.out[row * 128]));
            EXPECT_EQ(std::isfinite(r.out[row * 128 + 64]), query && row > 0) << row;
          }
        }
      }
}

}  // namespace
}  // namespace qwen3vl::attention
