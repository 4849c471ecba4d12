// SPDX-License-Identifier: Apache-2.0
// What cannot run falls to the next path with its cause reported, and the number is right all the same.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/attention.h"
#include "attention/fault.h"
#include "qwen3vl/error.h"
#include "support/attention_cases.h"
#include "support/near.h"

namespace qwen3vl::attention {
namespace {

const test::AttentionCase kCase{.name = "", .shape = {1, 12, 40, 4, 2, 64}, .causal = true};

class FallbackTest : public testing::Test {
 protected:
  ~FallbackTest() override { SetFaults(""); }

  AttentionReport RunCase(PathRequest request, bool check_finite = false) {
    out_.assign(t_.q.size(), NAN);
    Outputs out;
    out.out = out_.data();
    out.weights = weights_;
    Options options;
    options.request = request;
    options.check_finite = check_finite;
    const AttentionReport report = Attend(t_.inputs(), out, options, workspace_);
    EXPECT_LE(test::RelativeError(out_, Reference(t_, t_.k, t_.v).out), test::kFloatTolerance);
    EXPECT_EQ(report.asked, request);
    return report;
  }

  test::AttentionTensors t_{kCase};
  std::vector<float> out_;
  float* weights_ = nullptr;
  Workspace workspace_;
};

TEST_F(FallbackTest, NothingToReportWhenThePathRuns) {
  const AttentionReport r = RunCase(PathRequest::kAuto);
  EXPECT_EQ(r.used, Path::kCpuTiled);
  EXPECT_EQ(r.cause, FallbackCause::kNone);
  EXPECT_TRUE(r.sentence.empty());
}

TEST_F(FallbackTest, CudaWithoutADeviceGoesToTiled) {
  SetFaults("device");  // which this computer may have
  const AttentionReport r = RunCase(PathRequest::kCuda);
  EXPECT_EQ(r.used, Path::kCpuTiled);
  EXPECT_EQ(r.cause, FallbackCause::kDevice);
  EXPECT_FALSE(r.sentence.empty());
}

TEST_F(FallbackTest, WeightsTakeTheStandardPath) {
  std::vector<float> weights(4 * 12 * 40);
  weights_ = weights.data();
  const AttentionReport r = RunCase(PathRequest::kTiled);
  EXPECT_EQ(r.used, Path::kStandard);
  EXPECT_EQ(r.cause, FallbackCause::kUnsupported);
  // [head][token][key]; with them the values give the output again.
  std::vector<double> again(out_.size());
  for (size_t head = 0; head < 4; ++head)
    for (size_t token = 0; token < 12; ++token)
      for (size_t j = 0; j < 40; ++j)
        for (size_t d = 0; d < 64; ++d)
          again[(token * 4 + head) * 64 + d] += static_cast<double>(weights[(head * 12 + token) * 40 + j]) *
                                                static_cast<double>(t_.v[(j * 2 + head / 2) * 64 + d]);
  EXPECT_LE(test::RelativeError(out_, again), test::kFloatTolerance);
}

TEST_F(FallbackTest, NoScratchTakesTheStandardPath) {
  SetFaults("alloc");
  const AttentionReport r = RunCase(PathRequest::kTiled);
  EXPECT_EQ(r.used, Path::kStandard);
  EXPECT_EQ(r.cause, FallbackCause::kMemory);
}

TEST_F(FallbackTest, NonFiniteResultsAreRecomputedOnRequest) {
  SetFaults("nan");
  const AttentionReport r = RunCase(PathRequest::kTiled, /*check_finite=*/true);
  EXPECT_EQ(r.used, Path::kStandard);
  EXPECT_EQ(r.cause, FallbackCause::kNumbers);
}

TEST(Fallback, HeadsOver256TakeTheStandardPath) {
  const test::AttentionCase c{.name = "", .shape = {1, 3, 9, 2, 1, 300}};
  const test::AttentionTensors t(c);
  std::vector<float> found(t.q.size());
  Outputs out;
  out.out = found.data();
  Workspace workspace;
  const AttentionReport r = Attend(t.inputs(), out, {}, workspace);
  EXPECT_EQ(r.used, Path::kStandard);
  EXPECT_EQ(r.cause, FallbackCause::kUnsupported);
  EXPECT_LE(test::RelativeError(found, Reference(t, t.k, t.v).out), test::kFloatTolerance);
}

TEST(Fallback, OverflowInFloatIsRecomputedInDouble) {
  // Scores of 1e38 * 64 overflow a float; in double the softmax picks the largest.
  test::AttentionTensors t(kCase);
  for (float& x : t.q) x = 1e19f;
  for (float& x : t.k) x *= 1e19f;
  Inputs in = t.inputs();
  std::vector<float> found(t.q.size());
  Outputs out;
  out.out = found.data();
  Options options;
  options.check_finite = true;
  Workspace workspace;
  Attend(in, out, options, workspace);
  for (float x : found) ASSERT_TRUE(std::isfinite(x));
  EXPECT_LE(test::RelativeError(found, Reference(t, t.k, t.v).out), test::kFloatTolerance);
}

TEST(Faults, UnknownNamesListTheKnown) {
  try {
    SetFaults("alloc,bogus");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(e.what()).find("launch"), std::string::npos) << e.what();
  }
  SetFaults("");
}

TEST(Attend, RefusesContradictoryShapes) {
  test::AttentionTensors t(kCase);
  std::vector<float> found(t.q.size());
  Outputs out;
  out.out = found.data();
  Workspace workspace;
  const auto refuses = [&](auto change) {
    Inputs in = t.inputs();
    change(in);
    try {
      Attend(in, out, {}, workspace);
    } catch (const Error& e) {
      return e.code() == ErrorCode::kInvalidArgument;
    }
    return false;
  };
  const std::vector<size_t> segments{0, 5, 12}, lengths{1, 2};
  EXPECT_TRUE(refuses([](Inputs& in) { in.shape.n_kv_heads = 3; }));
  EXPECT_TRUE(refuses([](Inputs& in) { in.shape.n_kv_heads = 0; }));
  EXPECT_TRUE(refuses([](Inputs& in) { in.shape.head_dim = 0; }));
  EXPECT_TRUE(refuses([](Inputs& in) { in.q.data = nullptr; }));
  EXPECT_TRUE(refuses([&](Inputs& in) { in.mask.segments = segments; }));   // q_len and kv_len differ
  EXPECT_TRUE(refuses([&](Inputs& in) { in.mask.kv_lengths = lengths; }));  // one sequence, two lengths
}

}  // namespace
}  // namespace qwen3vl::attention
