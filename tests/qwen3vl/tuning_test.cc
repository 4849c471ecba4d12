// SPDX-License-Identifier: Apache-2.0
// The stored measurement: what is found again, what is refused, and what is kept beside it.
#include "qwen3vl/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "qwen3vl/runtime.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using testing::HasSubstr;

class TuningTest : public testing::Test {
 protected:
  TuningTest() {
    if (const char* path = getenv("XDG_CACHE_HOME")) before_ = path;
    setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1);
  }
  ~TuningTest() override { setenv("XDG_CACHE_HOME", before_.c_str(), 1); }

  TuningEntry Entry(size_t threads, size_t tile, bool fastest = false) const {
    return {.key = CurrentKey(cpu_, threads),
            .plan = {.head_dim = 128, .group = 4, .tile = tile, .q_rows = 48, .standard_below = 5},
            .fastest = fastest};
  }
  size_t Threads(size_t head_dim, size_t group) const {
    const HeadShape heads[] = {{80, 1}, {head_dim, group}};  // nothing is stored for the first
    return TunedThreads(cpu_, heads);
  }
  Tuning Find(size_t threads = 2) {
    return FindTuning(cpu_, threads, [&](LogLevel level, std::string_view line) {
      EXPECT_EQ(level, LogLevel::kWarning);
      warnings_.emplace_back(line);
    });
  }

  // This machine, but that it lets so many threads run whatever the machine of the test does.
  const hw::CpuInfo cpu_ = [] {
    hw::CpuInfo cpu = hw::ProbeCpu();
    cpu.logical_cores = 8;
    return cpu;
  }();
  const test::TempDir cache_;
  std::vector<std::string> warnings_;

 private:
  std::string before_;
};

TEST_F(TuningTest, NothingStoredIsNoWarning) {
  const Tuning tuning = Find();
  EXPECT_TRUE(tuning.plans.empty());
  EXPECT_EQ(Threads(128, 4), cpu_.default_threads);
  EXPECT_EQ(tuning.status, "none stored");
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(TuningTest, FindsWhatWasStoredForTheThreadsAskedFor) {
  StoreTuning(TuningPath(), {Entry(3, 64), Entry(5, 96, /*fastest=*/true)});
  EXPECT_EQ(Find(3).plans.at(0).tile, 64u);
  EXPECT_EQ(Find(5).plans.at(0).tile, 96u);
  EXPECT_TRUE(Find(4).plans.empty());
  EXPECT_EQ(Find(5).plans.at(0).standard_below, 5u);
  EXPECT_THAT(Find(5).status, HasSubstr("tuning.json"));
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(TuningTest, AnotherInstructionSetHasPlansOfItsOwn) {
  TuningEntry other = Entry(2, 64, /*fastest=*/true);
  other.key.isa = "another";
  StoreTuning(TuningPath(), {other});
  EXPECT_TRUE(Find(2).plans.empty());
  EXPECT_EQ(Threads(128, 4), cpu_.default_threads);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(TuningTest, EveryShapeOfHeadsHasItsOwnFastestThreadCount) {
  TuningEntry other = Entry(7, 256, /*fastest=*/true);
  other.plan.head_dim = 64;
  other.plan.group = 1;
  StoreTuning(TuningPath(), {Entry(5, 64, /*fastest=*/true)});
  StoreTuning(TuningPath(), {other});
  EXPECT_EQ(Threads(128, 4), 5u);
  EXPECT_EQ(Threads(64, 1), 7u);
  EXPECT_EQ(Threads(128, 2), cpu_.default_threads);
}

// A container's quota or taskset may leave fewer than there were when it was measured.
TEST_F(TuningTest, MoreThreadsThanThisProcessMayUseAreNotTaken) {
  TuningEntry next = Entry(3, 64, /*fastest=*/true);
  next.plan.head_dim = 64;
  StoreTuning(TuningPath(), {Entry(9, 64, /*fastest=*/true), next});
  EXPECT_EQ(Threads(128, 4), cpu_.default_threads);
  const HeadShape heads[] = {{128, 4}, {64, 4}};
  EXPECT_EQ(TunedThreads(cpu_, heads), 3u);
}

TEST_F(TuningTest, OneCountAloneSaysNothingAboutWhichIsFastest) {
  StoreTuning(TuningPath(), {Entry(3, 64), Entry(5, 64, /*fastest=*/true)});
  StoreTuning(TuningPath(), {Entry(1, 128)});
  EXPECT_EQ(Threads(128, 4), 5u);
  EXPECT_EQ(Find(3).plans.at(0).tile, 64u);
  StoreTuning(TuningPath(), {Entry(5, 256)});
  EXPECT_EQ(Threads(128, 4), 5u);
  EXPECT_EQ(Find(5).plans.at(0).tile, 256u);
  StoreTuning(TuningPath(), {Entry(3, 64, /*fastest=*/true)});
  EXPECT_EQ(Threads(128, 4), 3u);
}

TEST_F(TuningTest, MeasuringAgainReplacesTheCaseAndKeepsTheRest) {
  TuningEntry vision = Entry(3, 256);
  vision.plan.head_dim = 64;
  TuningEntry elsewhere = Entry(3, 64);
  elsewhere.key.cpu = "Another processor";
  StoreTuning(TuningPath(), {Entry(3, 64), vision, elsewhere});
  StoreTuning(TuningPath(), {Entry(3, 128)});
  const std::vector<TuningEntry> stored = ReadTuning(TuningPath());
  ASSERT_EQ(stored.size(), 3u);
  EXPECT_EQ(stored[0].plan.head_dim, 64u);
  EXPECT_EQ(stored[1].key.cpu, "Another processor");
  EXPECT_EQ(stored[2].plan.tile, 128u);
}

TEST_F(TuningTest, ACorruptFileIsOneWarningAndIsReplaced) {
  for (const char* content :
       {"", "{", "[]", R"({"schema": 2, "entries": []})", R"({"schema": 1})",
        R"({"schema": 1, "entries": [{"cpu": "x"}]})",
        R"({"schema": 1, "entries": [{"cpu": "x", "isa": "x", "version": "x", "threads": 1, "fastest": true,
            "head_dim": 128, "group": 4, "tile": 0, "q_rows": 48, "standard_below": 0}]})"}) {
    cache_.Write("qwen3vl/tuning.json", content);
    warnings_.clear();
    EXPECT_TRUE(Find().plans.empty()) << content;
    ASSERT_EQ(warnings_.size(), 1u) << content;
    EXPECT_THAT(warnings_[0], HasSubstr("tuning.json"));
    EXPECT_THAT(warnings_[0], HasSubstr("bench tune"));
    EXPECT_EQ(warnings_[0].find('\n'), std::string::npos);
  }
  StoreTuning(TuningPath(), {Entry(2, 64)});
  EXPECT_EQ(Find(2).plans.at(0).tile, 64u);
}

TEST_F(TuningTest, AFileFromAnotherProcessorOrVersionIsOneWarning) {
  TuningEntry other_cpu = Entry(2, 64), other_version = Entry(2, 64);
  other_cpu.key.cpu = "Another processor";
  other_version.key.version = "0.0.0";
  StoreTuning(TuningPath(), {other_cpu, other_version});
  EXPECT_TRUE(Find(2).plans.empty());
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_THAT(warnings_[0], HasSubstr("Another processor"));
}

TEST_F(TuningTest, WhatCannotBeWrittenIsSaid) {
  cache_.Write("qwen3vl", "a file where the folder should be");
  EXPECT_ERROR(ErrorCode::kUnsupported, "XDG_CACHE_HOME", StoreTuning(TuningPath(), {Entry(2, 64)}));
}

TEST_F(TuningTest, RunsUseItUnlessATileIsForcedOrItIsNotWanted) {
  if (hw::ProbeCpu().logical_cores < 2) GTEST_SKIP() << "two threads may not run here";
  StoreTuning(TuningPath(), {Entry(2, 96, /*fastest=*/true)});
  const hw::AttentionProblem prompt{.q_len = 512, .kv_len = 4096};
  const Runtime tuned(SessionOptions{.threads = 2});
  EXPECT_EQ(tuned.Plan(prompt).tile, 96u);
  EXPECT_EQ(tuned.Plan(prompt).threads, 2u);
  EXPECT_THAT(tuned.Plan(prompt).reason, HasSubstr("measured on this machine: 96"));
  EXPECT_EQ(Runtime(SessionOptions{.threads = 2, .tile = 32}).Plan(prompt).tile, 32u);
  const Runtime prescribed(SessionOptions{.threads = 2, .use_tuning = false});
  EXPECT_THAT(prescribed.Plan(prompt).reason, testing::Not(HasSubstr("measured")));
  EXPECT_EQ(ProbeMachine().default_threads, 2u);
  EXPECT_EQ(ProbeMachine().tile, 96u);
}

TEST_F(TuningTest, ShortAttentionTakesTheStandardPathWhereItWasFaster) {
  StoreTuning(TuningPath(), {Entry(1, 96)});
  Runtime runtime(SessionOptions{.threads = 1});
  const std::vector<float> values(16 * 32 * 128, 1.0f);
  std::vector<float> out(values.size());
  const auto attend = [&](size_t length, attention::PathRequest request) {
    AttentionCall call{.block = "text.layer.0", .request = request, .out = out.data()};
    call.inputs.shape = {1, length, length, 32, 8, 128};
    call.inputs.q = {values.data(), hw::Format::kF32, 0, 32 * 128, 128};
    call.inputs.k = call.inputs.v = {values.data(), hw::Format::kF32, 0, 8 * 128, 128};
    runtime.Attend(call);
  };
  attend(5, attention::PathRequest::kAuto);
  attend(4, attention::PathRequest::kTiled);
  EXPECT_EQ(runtime.PathsUsed(), "cpu_tiled");
  attend(4, attention::PathRequest::kAuto);
  EXPECT_EQ(runtime.PathsUsed(), "cpu_tiled, standard");
}

}  // namespace
}  // namespace qwen3vl
