// SPDX-License-Identifier: Apache-2.0
// The GPU kernels against float64, over the case table of the CPU kernels and over sizes around their own
// tiles: the whole host path on the stand-in driver, whose launches run the kernel sources on the block
// emulator.
#include <gtest/gtest.h>

#include "attention/kv_cache.h"
#include "cuda/fake_device.h"
#include "support/near.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionCase;
using test::AttentionTensors;
using test::CudaResult;
using test::FakeCuda;
using test::RunOnCuda;

// Relative in the norm, from the design's numbers for a float32 path. The emulator's exp2 is the C library's;
// the device's is off by 2 units in the last place.
constexpr double kFloatTolerance = 2e-6;

std::vector<AttentionCase> Cases() {
  std::vector<AttentionCase> cases = test::AttentionCases();
  // Keys one below, at and one above the tiles of 128 and 256; more than one block of 64 rows.
  cases.push_back({"Keys127", {1, 70, 127, 2, 1, 64}});
  cases.push_back({"Keys128", {1, 70, 128, 2, 1, 64}});
  cases.push_back({"Keys129Causal", {1, 70, 129, 2, 2, 128}, true});
  cases.push_back({"Keys255Causal", {1, 65, 255, 2, 2, 80}, true});
  cases.push_back({"Keys256", {1, 64, 256, 1, 1, 72}});
  cases.push_back({"Keys257", {1, 33, 257, 4, 2, 64}});
  cases.push_back({"Keys600Causal", {1, 40, 600, 8, 2, 128}, true});
  cases.push_back(
      {.name = "WindowOverTiles", .shape = {1, 70, 500, 2, 1, 64}, .causal = true, .window = 200});
  cases.push_back({.name = "SegmentsOverTiles",
                   .shape = {1, 420, 420, 1, 1, 64},
                   .segments = {0, 100, 128, 200, 385, 420}});
  cases.push_back({.name = "LengthsOverTiles", .shape = {3, 20, 300, 4, 1, 64}, .kv_lengths = {300, 129, 0}});
  cases.push_back({"DecodeGroup8", {1, 1, 400, 16, 2, 128}, true});
  cases.push_back({"DecodeBatch", {2, 1, 260, 4, 2, 72}, true});
  cases.push_back({"DecodeTwoTokens", {1, 2, 300, 8, 2, 80}, true});
  cases.push_back({.name = "DecodeWindow", .shape = {1, 1, 700, 4, 1, 64}, .causal = true, .window = 130});
#if defined(__SANITIZE_THREAD__)
  // There a fiber costs as much as a thread; the smaller cases reach every barrier and shuffle as well.
  std::erase_if(cases, [](const AttentionCase& c) {
    return c.shape.q_len * c.shape.kv_len * c.shape.n_heads * c.shape.head_dim > 1'200'000;
  });
#endif
  return cases;
}

bool IsSupported(const AttentionCase& c) {
  return c.shape.head_dim <= 128 && c.softcap == 0 && c.bias_heads == 0 && !c.allowed;
}

void ExpectReference(const CudaResult& r, const test::AttentionReference& ref) {
  for (float x : r.out) ASSERT_TRUE(std::isfinite(x));
  EXPECT_LE(test::RelativeError(r.out, ref.out), kFloatTolerance);
  for (size_t i = 0; i < r.lse.size(); ++i) {
    if (std::isinf(ref.lse[i])) {
      EXPECT_EQ(r.lse[i], -INFINITY) << "row " << i;
    } else {
      EXPECT_NEAR(r.lse[i], ref.lse[i], 3e-5) << "row " << i;  // as the CPU kernels': 90 * 2^-22
    }
  }
}

class CudaKernelsTest : public testing::TestWithParam<AttentionCase> {};

TEST_P(CudaKernelsTest, MatchFloat64WithBothTiles) {
  const AttentionTensors t(GetParam());
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  for (const auto& [gpu, tile] : {std::pair{"one", 128u}, {"ampere", 256u}}) {
    SCOPED_TRACE(gpu);
    FakeCuda fake(gpu);
    CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    const CudaResult r = RunOnCuda(device, t.inputs());
    if (!IsSupported(GetParam())) {
      EXPECT_EQ(r.outcome.cause, FallbackCause::kUnsupported);
      continue;
    }
    ASSERT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
    EXPECT_EQ(r.tile, tile);
    ExpectReference(r, ref);
  }
}

// Where no thread waits for another one by accident, the order of their turns makes no difference.
TEST_P(CudaKernelsTest, ThreadOrderLeavesNoTrace) {
  if (!IsSupported(GetParam())) return;  // covered above: they do not run
  const AttentionTensors t(GetParam());
  FakeCuda fake;
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  const CudaResult forward = RunOnCuda(device, t.inputs());
  for (const char* order : {"reverse", "shuffled"}) {
    fake.Order(order);
    const CudaResult r = RunOnCuda(device, t.inputs());
    EXPECT_EQ(r.out, forward.out) << order;
    EXPECT_EQ(r.lse, forward.lse) << order;
  }
}

TEST_P(CudaKernelsTest, ReadEveryCacheFormat) {
  const AttentionCase& c = GetParam();
  const Shape& s = c.shape;
  if (!IsSupported(c) || s.batch != 1 || s.kv_len == 0) return;  // a cache holds one sequence
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
  }
}

INSTANTIATE_TEST_SUITE_P(Table, CudaKernelsTest, testing::ValuesIn(Cases()),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

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

}  // namespace
}  // namespace qwen3vl::attention
