// SPDX-License-Identifier: Apache-2.0
// Options that contradict one another or are empty: one line with the option, exit code 2, before any work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

void ExpectBadUsage(const Words& words, const std::string& option, const std::string& why) {
  const Outcome o = RunCommand(words);
  EXPECT_EQ(o.exit_code, 2) << testing::PrintToString(words) << o;
  EXPECT_EQ(CountLines(o.err), 1u) << o;
  EXPECT_THAT(o.err, testing::AllOf(testing::StartsWith("qwen3vl: "), HasSubstr(option), HasSubstr(why)))
      << testing::PrintToString(words);
}

TEST(BadOptions, AnEmptyValueIsNamed) {
  const Words sweep = {"bench", "sweep"}, tune = {"bench", "tune"}, model = {"bench", "model", "-m", "x"},
              run = {"run", "-m", "x", "-p", "y"}, trace = {"trace", "-m", "x", "-p", "y", "--out", "z"};
  struct Case {
    Words words;
    const char* option;
  };
  for (Case c : {Case{sweep, "--model"}, Case{tune, "--model"}, Case{{"bench", "model"}, "--model"},
                 Case{{"bench", "image"}, "--model"}, Case{model, "--mmproj"}, Case{tune, "--mmproj"},
                 Case{sweep, "--report"}, Case{tune, "--isa"}, Case{run, "--isa"}, Case{{"probe"}, "--isa"},
                 Case{trace, "--only"}, Case{run, "--image"}, Case{run, "--video"}, Case{run, "--draw-boxes"},
                 Case{{"run"}, "--input"}, Case{{"trace"}, "--out"}, Case{{"trace"}, "--ids"},
                 Case{model, "--answer"}}) {
    c.words.insert(c.words.end(), {c.option, ""});
    ExpectBadUsage(c.words, c.option, "''");
  }
}

TEST(BadOptions, OfTuneMustNotContradictOneAnother) {
  const auto refuse = [](Words more, const char* why) {
    const std::string option = more.front();
    more.insert(more.begin(), {"bench", "tune"});
    ExpectBadUsage(more, option, why);
  };
  refuse({"--preset", "gpt2", "-m", TinyModel()}, "-m");
  refuse({"--threads", "1", "--thread-counts", "2"}, "--thread-counts");
  refuse({"--mmproj", "x"}, "want -m MODEL");
  refuse({"--prompt", "64", "--keys", "32"}, "the 32 of --keys");
}

TEST(BadOptions, OfTraceBeforeAttentionAreRefused) {
  ExpectBadUsage({"trace", "--threads", "1", "attention", "--in", "x", "--out", "y"}, "--threads",
                 "before 'attention'");
}

TEST(BadOptions, TheFileOfAttentionIsNotReplaced) {
  const TempDir folder;
  const std::string file = folder.Write("in.safetensors", "tensors");
  ExpectBadUsage({"trace", "attention", "--in", file, "--out", folder.path().string() + "/./in.safetensors"},
                 "--out", "the file of --in");
  EXPECT_EQ(ReadFile(file), "tensors");
}

TEST(BadOptions, PicturesToMeasureAreNoLargerThanRunReads) {
  ExpectBadUsage({"bench", "image", "-m", TinyModel(), "--sizes", "64x64,100000x100000"}, "--sizes",
                 "'100000x100000', want at most");
}

TEST(BadOptions, OfALayerWhoseRowsAreAllTooLongNamesTheBound) {
  const Outcome o = RunCommand({"bench", "layer", "--preset", "gpt2", "--kind", "attention", "--path",
                                "standard", "--lengths", "512", "--contexts", "512", "--max-standard", "0"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("nothing to measure: standard attention of these problems has more GFLOP than "
                               "--max-standard"));
}

}  // namespace
}  // namespace qwen3vl::test
