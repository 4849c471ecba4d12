// SPDX-License-Identifier: Apache-2.0
// Options::each_alone: a few tokens of one call get the bits that each gets in a call of its own, before the
// later ones were appended.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/attention.h"
#include "support/expect_error.h"
#include "support/isa.h"
#include "support/seeded.h"

namespace qwen3vl::attention {
namespace {

struct Problem {
  size_t n_heads, n_kv_heads, head_dim, kv_len;
  hw::Format format;
  size_t window = 0;
};

constexpr size_t kTokens = 4;

class Sequence {
 public:
  explicit Sequence(const Problem& p)
      : p_(p),
        q_(test::SeededNormal(1, kTokens * Width())),
        k_(test::SeededNormal(2, p.kv_len * KvWidth())),
        v_(test::SeededNormal(3, p.kv_len * KvWidth())),
        cache_({.n_layers = 1,
                .n_kv_heads = p.n_kv_heads,
                .head_dim = p.head_dim,
                .capacity = p.kv_len,
                .format = p.format}) {}

  size_t Width() const { return p_.n_heads * p_.head_dim; }
  size_t KvWidth() const { return p_.n_kv_heads * p_.head_dim; }

  // The last tokens `first` to first + n - 1 of kTokens; the cache holds what came before them, and them.
  std::vector<float> Run(size_t first, size_t n, Options options) {
    const size_t length = p_.kv_len - kTokens + first;
    cache_.Truncate(0);
    for (const auto& [from, count] : {std::pair<size_t, size_t>{0, length}, {length, n}})
      cache_.Append(0, {&k_[from * KvWidth()], count, KvWidth()}, {&v_[from * KvWidth()], count, KvWidth()});
    Inputs in;
    in.shape = {1, n, length + n, p_.n_heads, p_.n_kv_heads, p_.head_dim};
    in.q = {.data = &q_[first * Width()], .row_stride = Width(), .head_stride = p_.head_dim};
    in.cache = &cache_.layer(0);
    in.mask.causal = true;
    in.mask.window = p_.window;
    std::vector<float> result(n * Width(), NAN);
    Outputs out;
    out.out = result.data();
    options.each_alone = n > 1;
    report = Attend(in, out, options, workspace_);
    return result;
  }

  AttentionReport report;

 private:
  Problem p_;
  std::vector<float> q_, k_, v_;
  KvCache cache_;
  Workspace workspace_;
};

void ExpectEachAsAlone(const Problem& p, const Options& options) {
  SCOPED_TRACE(testing::Message() << p.n_heads << "/" << p.n_kv_heads << " x " << p.head_dim << ", keys "
                                  << p.kv_len << ", " << hw::Name(p.format) << ", threads "
                                  << options.plan.threads << ", tile " << options.plan.tile);
  Sequence sequence(p);
  std::vector<float> alone;
  for (size_t i = 0; i < kTokens; ++i)
    for (const float x : sequence.Run(i, 1, options)) alone.push_back(x);
  for (size_t n = 2; n <= kTokens; ++n) {
    const std::vector<float> found = sequence.Run(0, n, options);
    EXPECT_EQ(sequence.report.cause, FallbackCause::kNone) << sequence.report.sentence;
    EXPECT_EQ(found,
              std::vector<float>(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(found.size())))
        << n << " tokens";
  }
}

constexpr hw::Format kFormats[] = {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16, hw::Format::kQ8_0};

TEST(EachAlone, GivesTheBitsOfSingleTokens) {
  test::OnEveryIsa([] {
    for (const hw::Format format : kFormats)
      for (const size_t threads : {1, 2, 3})
        // Where the number of splits changes, where their length does (every 32 keys with two), and between.
        for (const size_t kv_len : {4, 16, 17, 256, 258, 259, 290, 1027, 1057}) {
          Options options;
          options.request = PathRequest::kTiled;
          options.plan = {.tile = 64, .q_rows = 48, .threads = threads};
          ExpectEachAsAlone({4, 2, 64, kv_len, format}, options);
        }
  });
}

TEST(EachAlone, GivesThemForAnyGroupTileAndWindow) {
  for (const hw::Format format : kFormats)
    for (const size_t n_heads : {1, 4, 7, 24, 40})
      for (const size_t tile : {16, 256})
        for (const size_t window : {0, 200})
          for (const CpuProducts products : {CpuProducts::kAuto, CpuProducts::kInt16}) {
            Options options;
            options.cpu_products = products;
            options.plan = {.tile = tile, .q_rows = 96, .threads = 2};
            ExpectEachAsAlone({n_heads, 1, 64, 387, format, window}, options);
          }
}

TEST(EachAlone, StandardAttentionGivesThemToo) {
  for (const hw::Format format : kFormats) {
    Options options;
    options.request = PathRequest::kStandard;
    options.plan.threads = 2;
    ExpectEachAsAlone({8, 2, 64, 100, format}, options);
  }
}

TEST(EachAlone, OnAGpuItFallsBackAndSaysWhy) {
  Sequence sequence({4, 2, 64, 50, hw::Format::kF16});
  Options options;
  options.request = PathRequest::kCuda;
  sequence.Run(0, 3, options);
  EXPECT_EQ(sequence.report.used, Path::kCpuTiled);
  EXPECT_EQ(sequence.report.cause, FallbackCause::kUnsupported);
  EXPECT_NE(sequence.report.sentence.find("as each alone"), std::string::npos) << sequence.report.sentence;
}

TEST(EachAlone, RefusesWhatIsNotACausalSequenceOnACache) {
  std::vector<float> x(64 * 4, 1.0f);
  Inputs in;
  in.shape = {1, 2, 4, 1, 1, 64};
  in.q = in.k = in.v = {.data = x.data(), .row_stride = 64, .head_stride = 64};
  in.mask.causal = true;
  Outputs out;
  out.out = x.data();
  Options options;
  options.each_alone = true;
  Workspace workspace;
  test::ExpectError(ErrorCode::kInvalidArgument, "as each alone",
                    [&] { Attend(in, out, options, workspace); });
}

}  // namespace
}  // namespace qwen3vl::attention
