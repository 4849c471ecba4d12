// SPDX-License-Identifier: Apache-2.0
// Every path on every instruction set against float64, over the case table.
#include "attention/attention.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <cstring>

#include "attention/tiled.h"
#include "hw/float16.h"
#include "support/attention_cases.h"
#include "support/isa.h"
#include "support/near.h"
#include "support/seeded.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionCase;
using test::AttentionTensors;
using test::kFloatTolerance;
using test::kLseTolerance;
using test::OnEveryIsa;

// Few rows on a q8_0 cache are rounded to 16 bits: values to 2^-16 of the largest, which moves scores of up
// to 6, and so the weights, by up to 1e-4. Relative in the norm, as kFloatTolerance.
constexpr double kCodedTolerance = 1e-4;
// Products in 16 bits: codes of n numbers are multiples of norm / 46000, which rounds each to 0.29 sqrt(n) /
// 46000 of their root mean square, 1e-4 for a tile of 256. Weights and values both are, and so are q and
// keys.
constexpr double kInt16Tolerance = 3e-4;
// A number halfway between two codes of q or of a key may become either: that moves a score of 90 by 3e-4.
constexpr double kInt16LseTolerance = 1e-3;

struct Result {
  std::vector<float> out, lse;
  AttentionReport report;
};

struct Way {
  PathRequest request = PathRequest::kTiled;
  size_t tile = 64;
  size_t q_rows = 48;
  size_t threads = 1;
  CpuProducts products = CpuProducts::kF32;
};

Result RunWay(const Inputs& in, const Way& way, Workspace& workspace) {
  const Shape& s = in.shape;
  Result r;
  r.out.assign(s.batch * s.q_len * s.n_heads * s.head_dim, NAN);
  r.lse.assign(s.batch * s.n_heads * s.q_len, NAN);
  Options options;
  options.request = way.request;
  options.cpu_products = way.products;
  options.plan.tile = way.tile;
  options.plan.q_rows = way.q_rows;
  options.plan.threads = way.threads;
  Outputs out;
  out.out = r.out.data();
  out.lse = r.lse.data();
  r.report = Attend(in, out, options, workspace);
  return r;
}

void ExpectLse(const std::vector<float>& found, const std::vector<double>& wanted,
               double tolerance = kLseTolerance) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isinf(wanted[i])) {
      EXPECT_EQ(found[i], -INFINITY) << "row " << i;
    } else {
      EXPECT_NEAR(found[i], wanted[i], tolerance) << "row " << i;
    }
  }
}

void ExpectOut(const std::vector<float>& found, const std::vector<double>& wanted, double tolerance) {
  for (size_t i = 0; i < found.size(); ++i) ASSERT_TRUE(std::isfinite(found[i])) << "element " << i;
  EXPECT_LE(test::RelativeError(found, wanted), tolerance);
}

class AttentionCaseTest : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionCaseTest, StandardMatchesFloat64) {
  const AttentionTensors t(GetParam());
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  Workspace workspace;
  const Result r = RunWay(t.inputs(), {.request = PathRequest::kStandard, .threads = 2}, workspace);
  EXPECT_EQ(r.report.used, Path::kStandard);
  EXPECT_EQ(r.report.cause, FallbackCause::kNone);
  ExpectOut(r.out, ref.out, kFloatTolerance);
  ExpectLse(r.lse, ref.lse);
}

TEST_P(AttentionCaseTest, TiledMatchesFloat64OnEveryIsa) {
  const AttentionTensors t(GetParam());
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  OnEveryIsa([&] {
    for (const Way& way :
         {Way{.tile = 16, .q_rows = 5, .threads = 3}, Way{.tile = 64, .q_rows = 48, .threads = 1},
          Way{.tile = 256, .q_rows = 192, .threads = 2}}) {
      SCOPED_TRACE("tile " + std::to_string(way.tile));
      Workspace workspace;
      const Result r = RunWay(t.inputs(), way, workspace);
      EXPECT_EQ(r.report.used, Path::kCpuTiled) << r.report.sentence;
      ExpectOut(r.out, ref.out, kFloatTolerance);
      ExpectLse(r.lse, ref.lse);
    }
  });
}

// Every number of vectors that register blocks are left with, in heads (4 to 68 of 4 floats) and in keys (1
// to 9 panels), at both ends of a causal triangle.
TEST(TallBlocks, EveryRemainderMatchesFloat64) {
  for (size_t i = 0; i < 17; ++i) {
    AttentionCase c{
        .name = "", .shape = {1, 25, 17 + i % 9 * 16, 2, 1, 16 + 8 * i - i % 3}, .causal = i % 2 == 0};
    if (i % 4 == 0) c.kv_begin = 16 + i;
    SCOPED_TRACE(testing::Message() << "keys " << c.shape.kv_len << ", head_dim " << c.shape.head_dim);
    const AttentionTensors t(c);
    const test::AttentionReference ref = Reference(t, t.k, t.v);
    OnEveryIsa([&] {
      for (const size_t tile : {size_t{48}, size_t{256}}) {
        Workspace workspace;
        const Result r = RunWay(t.inputs(), {.tile = tile}, workspace);
        EXPECT_EQ(r.report.used, Path::kCpuTiled) << r.report.sentence;
        ExpectOut(r.out, ref.out, kFloatTolerance);
        ExpectLse(r.lse, ref.lse);
      }
    });
  }
}

// Rows of n numbers as products in 16 bits take them.
std::vector<float> Rounded(const std::vector<float>& x, size_t n) {
  std::vector<float> out(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    float largest = 0, squares = 0;
    for (size_t i = row; i < row + n; ++i) {
      largest = std::max(largest, std::abs(x[i]));
      squares += x[i] * x[i];
    }
    const float factor = largest == 0 ? 0 : std::min(32767 / largest, 46000 / std::sqrt(squares));
    for (size_t i = row; i < row + n; ++i) out[i] = factor == 0 ? 0 : std::nearbyint(x[i] * factor) / factor;
  }
  return out;
}

TEST_P(AttentionCaseTest, Int16ProductsMatchFloat64OfRoundedRowsOnEveryIsa) {
  const Shape& s = GetParam().shape;
  AttentionTensors t(GetParam());
  const AttentionTensors given(t);
  const bool int16 = s.head_dim % 2 == 0 && s.q_len * (s.n_heads / s.n_kv_heads) >= 24;
  if (int16) {
    t.q = Rounded(t.q, s.head_dim);
    t.k = Rounded(t.k, s.head_dim);
  }
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  OnEveryIsa([&] {
    for (const Way& way :
         {Way{.tile = 16, .q_rows = 5, .threads = 3}, Way{.tile = 64}, Way{.tile = 256, .q_rows = 192}}) {
      SCOPED_TRACE("tile " + std::to_string(way.tile));
      Way with = way;
      with.products = CpuProducts::kInt16;
      Workspace workspace;
      const Result r = RunWay(given.inputs(), with, workspace);
      EXPECT_EQ(r.report.used, Path::kCpuTiled) << r.report.sentence;
      EXPECT_EQ(r.report.products, int16 ? CpuProducts::kInt16 : CpuProducts::kF32);
      ExpectOut(r.out, ref.out, int16 ? kInt16Tolerance : kFloatTolerance);
      ExpectLse(r.lse, ref.lse, int16 ? kInt16LseTolerance : kLseTolerance);
    }
  });
}

// Other threads split q rows and keys elsewhere, which may change the order of sums and nothing else: values
// reach 1, so that results differ by no more than a float32 run may from float64, 1e-5 (attention, recorded:
// Tolerances in tests/data/README.md). In 16 bits, where a weight might then become another code, keys are
// not split.
void ExpectThreadsLeaveHardlyATrace(const Inputs& in, Way way, std::initializer_list<size_t> counts) {
  Workspace workspace;
  way.threads = 1;
  const Result one = RunWay(in, way, workspace);
  for (const size_t threads : counts) {
    way.threads = threads;
    const Result a = RunWay(in, way, workspace), b = RunWay(in, way, workspace);
    EXPECT_EQ(a.out, b.out) << threads << " threads, twice";
    EXPECT_TRUE(test::AllNear(a.out, one.out, 1e-5)) << threads << " threads";
    if (one.report.products == CpuProducts::kInt16) {
      EXPECT_EQ(a.out, one.out) << threads << " threads";
    }
  }
}

TEST_P(AttentionCaseTest, ThreadsLeaveHardlyATraceAndRunsNone) {
  const AttentionTensors t(GetParam());
  OnEveryIsa([&] {
    ExpectThreadsLeaveHardlyATrace(t.inputs(), {}, {2, 3, 5, 64});
    ExpectThreadsLeaveHardlyATrace(t.inputs(), {.products = CpuProducts::kInt16}, {2, 3, 5, 64});
  });
}

// A cache with the keys and values of a case.
KvCache Cached(const AttentionTensors& t, hw::Format format) {
  const Shape& s = t.c.shape;
  KvCache cache({.n_layers = 1,
                 .n_kv_heads = s.n_kv_heads,
                 .head_dim = s.head_dim,
                 .capacity = s.kv_len + 3,
                 .format = format});
  const size_t width = s.n_kv_heads * s.head_dim;
  cache.Append(0, {t.k.data(), s.kv_len, width}, {t.v.data(), s.kv_len, width});
  return cache;
}

TEST(AttentionCache, ThreadsLeaveHardlyATraceInAnyFormat) {
  const AttentionCase cases[] = {
      {.name = "one token, long", .shape = {1, 1, 2048, 4, 1, 128}, .causal = true},
      {.name = "one token, short", .shape = {1, 1, 300, 8, 2, 64}, .causal = true},
      {.name = "two tokens in a window", .shape = {1, 2, 1500, 2, 1, 64}, .causal = true, .window = 1100},
      {.name = "few rows left over", .shape = {1, 74, 300, 4, 2, 64}, .causal = true},
      {.name = "a short turn", .shape = {1, 30, 1000, 2, 1, 64}, .causal = true},
  };
  for (const AttentionCase& c : cases)
    for (const hw::Format format :
         {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0}) {
      const AttentionTensors t(c);
      const KvCache cache = Cached(t, format);
      Inputs in = t.inputs();
      in.cache = &cache.layer(0);
      OnEveryIsa([&] {
        for (const size_t tile : {64, 256}) {
          SCOPED_TRACE(testing::Message() << c.name << ", " << hw::Name(format) << ", tile " << tile);
          for (const CpuProducts products : {CpuProducts::kF32, CpuProducts::kInt16})
            ExpectThreadsLeaveHardlyATrace(in, {.tile = tile, .q_rows = 96, .products = products},
                                           {2, 3, 6, 7});
        }
      });
    }
}

class AttentionCacheCaseTest : public AttentionCaseTest {};

TEST_P(AttentionCacheCaseTest, MatchesFloat64OnEveryIsa) {
  const AttentionCase& c = GetParam();
  const Shape& s = c.shape;
  const AttentionTensors t(c);
  for (const hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0}) {
    if (format == hw::Format::kQ8_0 && s.head_dim % 32 != 0) continue;  // no such cache: see KvCache
    SCOPED_TRACE(hw::Name(format));
    const KvCache cache = Cached(t, format);
    // What the cache holds is what the kernel is judged by; what storing loses is judged below.
    std::vector<float> k(t.k.size()), v(t.v.size());
    for (size_t pos = 0; pos < s.kv_len; ++pos)
      for (size_t h = 0; h < s.n_kv_heads; ++h) {
        cache.ReadK(0, h, pos, &k[(pos * s.n_kv_heads + h) * s.head_dim]);
        cache.ReadV(0, h, pos, &v[(pos * s.n_kv_heads + h) * s.head_dim]);
      }
    const test::AttentionReference stored = Reference(t, k, v);
    Inputs in = t.inputs();
    in.cache = &cache.layer(0);
    OnEveryIsa([&] {
      Workspace workspace;
      for (PathRequest request : {PathRequest::kTiled, PathRequest::kStandard}) {
        const Result r = RunWay(in, {.request = request, .tile = 32, .q_rows = 24, .threads = 2}, workspace);
        EXPECT_EQ(r.report.used, request == PathRequest::kTiled ? Path::kCpuTiled : Path::kStandard);
        const bool coded = format == hw::Format::kQ8_0 && request == PathRequest::kTiled;
        ExpectOut(r.out, stored.out, coded ? kCodedTolerance : kFloatTolerance);
        ExpectLse(r.lse, stored.lse, coded ? kCodedTolerance : kLseTolerance);
      }
    });
  }
}

std::string NameOf(const testing::TestParamInfo<AttentionCase>& c) { return c.param.name; }
INSTANTIATE_TEST_SUITE_P(Table, AttentionCaseTest, testing::ValuesIn(test::AttentionCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Table, AttentionCacheCaseTest,
                         testing::ValuesIn(test::CacheCases(test::AttentionCases())), NameOf);

struct CacheFormat {
  hw::Format format;
  double storage_tolerance;  // relative in the norm: Tolerances in tests/data/README.md
};

// Activations of ordinary size: normalised heads, scores of a few units. Those of the case table are exact in
// 16 bits, so that storing them loses nothing.
TEST(AttentionCache, RoundedFormatsStayWithinTheirBounds) {
  const AttentionCase c{.name = "", .shape = {1, 16, 512, 8, 2, 128}, .causal = true};
  AttentionTensors t(c);
  t.q = test::SeededNormal(1, t.q.size());
  t.k = test::SeededNormal(2, t.k.size());
  t.v = test::SeededNormal(3, t.v.size());
  const test::AttentionReference exact = Reference(t, t.k, t.v);
  for (const auto& [format, tolerance] :
       {CacheFormat{hw::Format::kF16, 1e-3}, CacheFormat{hw::Format::kBF16, 1e-2},
        CacheFormat{hw::Format::kQ8_0, 1e-2}}) {
    const KvCache cache = Cached(t, format);
    Inputs in = t.inputs();
    in.cache = &cache.layer(0);
    Workspace workspace;
    for (const CpuProducts products : {CpuProducts::kF32, CpuProducts::kInt16}) {
      SCOPED_TRACE(testing::Message() << hw::Name(format) << ", " << Name(products));
      const double error = test::RelativeError(RunWay(in, {.products = products}, workspace).out, exact.out);
      EXPECT_LE(error, tolerance);
      EXPECT_GT(error, tolerance / 10);  // or storing had nothing to round
    }
  }
  Workspace workspace;
  EXPECT_LE(
      test::RelativeError(RunWay(t.inputs(), {.products = CpuProducts::kInt16}, workspace).out, exact.out),
      kInt16Tolerance);
}

// One problem of equal rows, keys and values, so that every sum is as large as its norms allow, also where
// their squares are beyond the range of floats.
TEST(Int16Products, TheLargestSumsDoNotOverflow) {
  for (const size_t head_dim : {2, 16, 72, 128, 256})
    for (const float value : {1e-22f, 1.0f, 3e21f}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << ", values of " << value);
      const size_t keys = 2100;
      const std::vector<float> q(24 * head_dim, 1 / value), kv(keys * head_dim, value);
      Inputs in;
      in.shape = {1, 24, keys, 1, 1, head_dim};
      in.q = {.data = q.data(), .row_stride = head_dim, .head_stride = head_dim};
      in.k = in.v = {.data = kv.data(), .row_stride = head_dim, .head_stride = head_dim};
      OnEveryIsa([&] {
        Workspace workspace;
        const Result r = RunWay(in, {.tile = 65536, .products = CpuProducts::kInt16}, workspace);
        EXPECT_EQ(r.report.products, CpuProducts::kInt16);
        // All weights of a tile are rounded the same way, and all values: by half a code of sqrt(tile) /
        // 46000.
        const double code = std::sqrt(static_cast<double>(r.report.tile)) / 46000;
        for (const float x : r.out) ASSERT_NEAR(x / value, 1.0, 2 * 0.5 * code);
        const double score = std::sqrt(static_cast<double>(head_dim)) + std::log(static_cast<double>(keys));
        for (const float x : r.lse) ASSERT_NEAR(x, score, 1e-4 * score);
      });
    }
}

// Values near the end of the floats, of which a norm would leave their range. One key has all of the weight,
// or their sum would too.
TEST(Int16Products, HugeValuesKeepTheirSize) {
  std::vector<float> q(24 * 64, 0.0f), k(2 * 64, 0.0f);
  for (size_t row = 0; row < 24; ++row) q[row * 64] = 1;
  k[64] = -1000;
  const std::vector<float> v(2 * 64, 3e38f);
  Inputs in;
  in.shape = {1, 24, 2, 1, 1, 64};
  in.q = {.data = q.data(), .row_stride = 64, .head_stride = 64};
  in.k = {.data = k.data(), .row_stride = 64, .head_stride = 64};
  in.v = {.data = v.data(), .row_stride = 64, .head_stride = 64};
  OnEveryIsa([&] {
    Workspace workspace;
    const Result r = RunWay(in, {.products = CpuProducts::kInt16}, workspace);
    EXPECT_EQ(r.report.products, CpuProducts::kInt16);
    for (const float x : r.out) ASSERT_NEAR(x / 3e38f, 1.0f, kInt16Tolerance);
  });
}

// One key that outweighs each of the others 20000 times, and not all of them together.
TEST(Int16Products, ATailOfSmallWeightsCounts) {
  const AttentionCase c{.name = "", .shape = {1, 24, 4096, 1, 1, 64}, .amplitude = 0.1f, .scale = 1};
  AttentionTensors t(c);
  for (size_t row = 0; row < 24; ++row) t.q[row * 64] = 1;
  t.k[100 * 64] = std::log(20000.0f);
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  OnEveryIsa([&] {
    Workspace workspace;
    const Result r = RunWay(t.inputs(), {.tile = 256, .products = CpuProducts::kInt16}, workspace);
    EXPECT_LE(test::RelativeError(r.out, ref.out), kInt16Tolerance);
  });
}

TEST(Int16Products, WhatIsNotANumberStaysWhereItIs) {
  const AttentionCase c{.name = "", .shape = {1, 20, 40, 2, 1, 64}, .kv_end = 35};
  const auto expect = [&](AttentionTensors& t, std::vector<float>& tensor, size_t at, const auto& reaches) {
    for (const float bad : {NAN, INFINITY}) {
      const float before = tensor[at];
      tensor[at] = bad;
      OnEveryIsa([&] {
        Workspace workspace;
        const Result r = RunWay(t.inputs(), {.products = CpuProducts::kInt16}, workspace);
        for (size_t i = 0; i < r.out.size(); ++i) ASSERT_EQ(std::isnan(r.out[i]), reaches(i)) << i;
      });
      tensor[at] = before;
    }
  };
  AttentionTensors t(c);
  expect(t, t.q, (7 * 2 + 1) * 64 + 3, [](size_t i) { return i / 64 == 7 * 2 + 1; });  // token 7, head 1
  expect(t, t.k, 30 * 64 + 3, [](size_t) { return true; });
  expect(t, t.v, 30 * 64 + 3, [](size_t i) { return i % 64 == 3; });
  expect(t, t.k, 36 * 64 + 3, [](size_t) { return false; });  // no row sees it
  expect(t, t.v, 36 * 64 + 3, [](size_t) { return false; });
}

// Memory that earlier problems left behind is never read as a number.
TEST(Attention, WhatTheWorkspaceHeldDoesNotMatter) {
  for (const AttentionCase& c :
       {AttentionCase{.name = "", .shape = {1, 1, 700, 2, 1, 64}, .causal = true, .window = 20},
        AttentionCase{.name = "", .shape = {1, 30, 90, 4, 2, 72}, .kv_begin = 40, .kv_end = 60}}) {
    const AttentionTensors t(c);
    for (const CpuProducts products : {CpuProducts::kF32, CpuProducts::kInt16}) {
      Workspace clean, dirty;
      const Way way{.tile = 16, .q_rows = 5, .threads = 3, .products = products};
      const Result wanted = RunWay(t.inputs(), way, clean);
      std::memset(dirty.Reserve(clean.bytes() / sizeof(float)), 0xff, clean.bytes());  // NaN everywhere
      const Result found = RunWay(t.inputs(), way, dirty);
      EXPECT_EQ(found.out, wanted.out);
      EXPECT_EQ(found.lse, wanted.lse);
      EXPECT_EQ(dirty.bytes(), clean.bytes());
    }
  }
}

// Products in 16 bits of what a cache holds are those of the same numbers in plain tensors, wherever tiles
// begin.
TEST(AttentionCache, Int16ProductsAreThoseOfPlainTensors) {
  const AttentionCase c{
      .name = "", .shape = {1, 40, 333, 4, 2, 64}, .causal = true, .window = 150, .kv_begin = 37};
  for (const hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0}) {
    AttentionTensors t(c);
    const KvCache cache = Cached(t, format);
    for (size_t row = 0; row < 333 * 2; ++row) {
      cache.ReadK(0, row % 2, row / 2, &t.k[row * 64]);
      cache.ReadV(0, row % 2, row / 2, &t.v[row * 64]);
    }
    Inputs in = t.inputs();
    in.cache = &cache.layer(0);
    OnEveryIsa([&] {
      const Way way{.tile = 48, .threads = 2, .products = CpuProducts::kInt16};
      Workspace workspace;
      const Result cached = RunWay(in, way, workspace);
      EXPECT_EQ(cached.report.products, CpuProducts::kInt16);
      EXPECT_EQ(cached.out, RunWay(t.inputs(), way, workspace).out) << hw::Name(format);
    });
  }
}

TEST(AttentionCache, AutoRoundsManyRowsWhereKeysAndValuesWereRounded) {
  for (const hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0})
    for (const size_t q_len : {size_t{23}, size_t{24}}) {  // 46 and 48 rows of a kv head
      const AttentionCase c{.name = "", .shape = {1, q_len, 100, 4, 2, 64}, .causal = true};
      const AttentionTensors t(c);
      const KvCache cache = Cached(t, format);
      Inputs in = t.inputs();
      in.cache = &cache.layer(0);
      Workspace workspace;
      const Result found = RunWay(in, {.products = CpuProducts::kAuto}, workspace);
      const CpuProducts wanted =
          format != hw::Format::kF32 && q_len == 24 ? CpuProducts::kInt16 : CpuProducts::kF32;
      EXPECT_EQ(found.report.products, wanted) << hw::Name(format) << " " << q_len;
      EXPECT_EQ(found.out, RunWay(in, {.products = wanted}, workspace).out);
    }
}

// One row on a q8_0 cache, whose products are summed in whole numbers.
class CodedRowTest : public testing::Test {
 protected:
  static constexpr size_t kLength = 1100, kHeadDim = 64;

  std::vector<float> RunOn(KvCache& cache, const std::vector<float>& q) {
    Inputs in;
    in.shape = {1, 1, cache.layer(0).length, 1, 1, kHeadDim};
    in.q = {.data = q.data(), .row_stride = kHeadDim, .head_stride = kHeadDim};
    in.cache = &cache.layer(0);
    Workspace workspace;
    const Result r = RunWay(in, {.tile = 1024}, workspace);
    EXPECT_EQ(r.report.used, Path::kCpuTiled);
    return r.out;
  }

  KvCache cache_{{.n_layers = 1,
                  .n_kv_heads = 1,
                  .head_dim = kHeadDim,
                  .capacity = kLength,
                  .format = hw::Format::kQ8_0}};
  std::vector<float> ones_ = std::vector<float>(kLength * kHeadDim, 1.0f);
};

// All codes at their largest, in a tile longer than what 32 bits hold of such products.
TEST_F(CodedRowTest, SumsDoNotOverflow) {
  cache_.Append(0, {ones_.data(), kLength, kHeadDim}, {ones_.data(), kLength, kHeadDim});
  OnEveryIsa([&] {
    for (const float x : RunOn(cache_, ones_)) EXPECT_NEAR(x, 1.0f, 5e-4f);  // scales are F16: 2^-11
  });
}

TEST_F(CodedRowTest, WhatIsNotANumberReachesTheResult) {
  cache_.Append(0, {ones_.data(), kLength, kHeadDim}, {ones_.data(), kLength, kHeadDim});
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> q = ones_;
    q[5] = bad;
    OnEveryIsa([&] {
      for (const float x : RunOn(cache_, q)) EXPECT_TRUE(std::isnan(x));
    });
  }
  std::vector<float> v = ones_;
  v[700 * kHeadDim + 40] = NAN;
  cache_.Truncate(0);
  cache_.Append(0, {ones_.data(), kLength, kHeadDim}, {v.data(), kLength, kHeadDim});
  OnEveryIsa([&] {
    const std::vector<float> out = RunOn(cache_, ones_);
    for (size_t d = 0; d < kHeadDim; ++d) EXPECT_EQ(std::isnan(out[d]), d >= 32) << d;  // that share a scale
  });
}

TEST_F(CodedRowTest, RowsThatWereTakenBackDoNotCount) {
  const std::vector<float> bad(kLength * kHeadDim, INFINITY);
  cache_.Append(0, {bad.data(), kLength, kHeadDim}, {bad.data(), kLength, kHeadDim});
  cache_.Truncate(0);
  cache_.Append(0, {ones_.data(), 35, kHeadDim}, {ones_.data(), 35, kHeadDim});
  OnEveryIsa([&] {
    for (const float x : RunOn(cache_, ones_)) EXPECT_NEAR(x, 1.0f, 5e-4f);
  });
}

// An app may have set another rounding for its own arithmetic. Widths of heads give other factors, whose
// products round either way.
TEST(Attention, RoundingOfTheAppMovesLastDigitsOnly) {
  for (const size_t head_dim : {32, 64, 80, 128, 200}) {
    const AttentionCase c{.name = "", .shape = {1, 20, 70, 2, 1, head_dim}, .causal = true, .amplitude = 4};
    const AttentionTensors t(c);
    const test::AttentionReference ref = Reference(t, t.k, t.v);
    for (const int rounding : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << ", rounding " << rounding);
      OnEveryIsa([&] {
        Workspace workspace;
        std::fesetround(rounding);
        const Result r = RunWay(t.inputs(), {}, workspace);
        std::fesetround(FE_TONEAREST);
        EXPECT_EQ(r.report.used, Path::kCpuTiled) << r.report.sentence;
        ExpectOut(r.out, ref.out, 10 * kFloatTolerance);
      });
    }
  }
}

TEST(Attention, WhatIsNotANumberReachesItsRow) {
  const AttentionCase c{.name = "", .shape = {1, 20, 40, 2, 1, 64}};
  AttentionTensors t(c);
  t.q[(7 * 2 + 1) * 64 + 3] = NAN;  // token 7, head 1
  OnEveryIsa([&] {
    Workspace workspace;
    const Result r = RunWay(t.inputs(), {}, workspace);
    for (size_t i = 0; i < r.out.size(); ++i) ASSERT_EQ(std::isnan(r.out[i]), i / 64 == 7 * 2 + 1) << i;
  });
}

// Caches in 16 bits keep infinity, and so does what reads them, with and without an instruction for it.
TEST(AttentionCache, InfinityStaysInfinity) {
  for (const hw::Format format : {hw::Format::kF16, hw::Format::kBF16}) {
    KvCache cache({.n_layers = 1, .n_kv_heads = 1, .head_dim = 64, .capacity = 20, .format = format});
    const std::vector<float> k(20 * 64, 0.5f);
    std::vector<float> v = k;
    v[11 * 64 + 9] = -INFINITY;
    cache.Append(0, {k.data(), 20, 64}, {v.data(), 20, 64});
    Inputs in;
    in.shape = {1, 1, 20, 1, 1, 64};
    in.q = {.data = k.data(), .row_stride = 64, .head_stride = 64};
    in.cache = &cache.layer(0);
    OnEveryIsa([&] {
      Workspace workspace;
      const Result r = RunWay(in, {}, workspace);
      for (size_t d = 0; d < 64; ++d) {
        if (d == 9) {
          EXPECT_EQ(r.out[d], -INFINITY);
        } else {
          EXPECT_NEAR(r.out[d], 0.5f, 1e-6f) << d;
        }
      }
    });
  }
}

TEST(Attention, HalfPrecisionAtTheBoundary) {
  const AttentionCase c{.name = "", .shape = {1, 20, 30, 4, 2, 64}, .causal = true};
  const AttentionTensors t(c);
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  for (hw::Format format : {hw::Format::kF16, hw::Format::kBF16}) {
    const auto narrow = [&](const std::vector<float>& x) {
      std::vector<uint16_t> bits(x.size());
      for (size_t i = 0; i < x.size(); ++i)
        bits[i] = format == hw::Format::kF16 ? hw::ToF16(x[i]).bits : hw::ToBF16(x[i]).bits;
      return bits;
    };
    const std::vector<uint16_t> q = narrow(t.q), k = narrow(t.k), v = narrow(t.v);
    Inputs in = t.inputs();
    in.q.data = q.data(), in.k.data = k.data(), in.v.data = v.data();
    in.q.format = in.k.format = in.v.format = format;
    std::vector<uint16_t> bits(t.q.size());
    Outputs out;
    out.out = bits.data();
    out.out_format = format;
    Options options;
    options.request = PathRequest::kTiled;
    Workspace workspace;
    EXPECT_EQ(Attend(in, out, options, workspace).used, Path::kCpuTiled);
    std::vector<float> found(bits.size());
    for (size_t i = 0; i < bits.size(); ++i)
      found[i] = format == hw::Format::kF16 ? hw::ToFloat(hw::F16{bits[i]}) : hw::ToFloat(hw::BF16{bits[i]});
    // Half a unit in the last place of the output: 2^-12 (f16), 2^-9 (bf16); inputs are exact in both.
    EXPECT_LE(test::RelativeError(found, ref.out), format == hw::Format::kF16 ? 0x1p-12 : 0x1p-9);
  }
}

TEST(Attention, UnalignedTensorsGiveTheSame) {
  const AttentionCase c{.name = "", .shape = {1, 19, 37, 4, 2, 72}, .causal = true};
  const AttentionTensors t(c);
  const auto shifted = [](const std::vector<float>& x) {
    std::vector<std::byte> bytes(x.size() * sizeof(float) + 1);
    std::memcpy(bytes.data() + 1, x.data(), x.size() * sizeof(float));
    return bytes;
  };
  const std::vector<std::byte> q = shifted(t.q), k = shifted(t.k), v = shifted(t.v);
  Inputs in = t.inputs();
  in.q.data = q.data() + 1, in.k.data = k.data() + 1, in.v.data = v.data() + 1;
  Workspace workspace;
  EXPECT_EQ(RunWay(in, {}, workspace).out, RunWay(t.inputs(), {}, workspace).out);
}

TEST(Attention, ScratchIsConstantInLengthAndAtMostOneMebibyteAThread) {
  std::vector<size_t> bytes;
  for (size_t n : {512, 2048, 8192}) {
    const AttentionCase c{.name = "", .shape = {1, 64, n, 4, 1, 128}, .causal = true};
    const AttentionTensors t(c);
    Workspace workspace;
    RunWay(t.inputs(), {.tile = 256, .q_rows = 192}, workspace);
    bytes.push_back(workspace.bytes());
  }
  EXPECT_EQ(bytes[0], bytes[1]);
  EXPECT_EQ(bytes[1], bytes[2]);
  EXPECT_LE(bytes[2], size_t{1} << 20);
}

TEST(Attention, APlanForMoreScratchIsCutDown) {
  const AttentionCase c{.name = "", .shape = {1, 300, 3000, 4, 1, 128}};
  const AttentionTensors t(c);
  Workspace workspace, whole;
  const Result cut = RunWay(t.inputs(), {.tile = 8192, .q_rows = 1056}, workspace);
  EXPECT_EQ(cut.report.used, Path::kCpuTiled);
  EXPECT_LE(workspace.bytes(), size_t{1} << 20);
  EXPECT_LT(cut.report.tile, 3000u);
  // The same numbers summed in another order: half of what such a path may be off by from float64.
  EXPECT_LE(test::RelativeError(cut.out, RunWay(t.inputs(), {.tile = 64, .q_rows = 96}, whole).out),
            0.5 * kFloatTolerance);
}

TEST(Attention, ThePlanCountsAllScratch) {
  for (size_t rows = 48; rows <= 1056; rows += 48)
    for (const size_t tile : {16, 64, 256, 512})
      for (const size_t head_dim : {64, 72, 128, 256})
        EXPECT_LE(ScratchOf(rows, tile, head_dim).bytes, hw::TileScratchBytes(tile, rows, head_dim))
            << rows << " rows, tile " << tile << ", head_dim " << head_dim;
}

}  // namespace
}  // namespace qwen3vl::attention
