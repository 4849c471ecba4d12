// SPDX-License-Identifier: Apache-2.0
// `bench`: rows on stdout and nothing else, and two results compared. No time is judged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kTinyLayer = {
    "bench",     "layer", "--preset",  "gpt2", "--kind",    "attention.prefill",
    "--lengths", "20",    "--dtype",   "f32",  "--samples", "2",
    "--threads", "1",     "--no-peaks"};

std::vector<std::string> With(std::vector<std::string> args, const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

TEST(BenchCommand, JsonHoldsOneRowAPathWithItsError) {
  const nlohmann::json document = OutJson(RunCommand(With(kTinyLayer, {"--json"})));
  EXPECT_EQ(document["schema"], 1);
  ASSERT_EQ(document["rows"].size(), 2u);  // tiled and standard
  for (const auto& row : document["rows"]) {
    EXPECT_LT(row["accuracy"]["rel_norm"].get<double>(), 2e-6);
    EXPECT_EQ(row["samples"].size(), 2u);
    EXPECT_TRUE(row["peaks"].is_null());
    EXPECT_THAT(row["command"].get<std::string>(),
                HasSubstr("qwen3vl bench layer --preset gpt2 --kind attention.prefill"));
  }
}

TEST(BenchCommand, SweepsALayerByLength) {
  const Outcome o =
      RunCommand({"bench", "sweep", "--preset", "gpt2", "--lengths", "20,40", "--contexts", "30", "--kv-type",
                  "bf16", "--samples", "1", "--no-peaks", "--format", "jsonl"});
  const std::vector<nlohmann::json> rows = OutJsonLines(o);
  // Tiled, standard and with weights for each prompt; tiled and standard for the step.
  ASSERT_EQ(rows.size(), 8u) << o;
  for (const auto& row : rows) {
    EXPECT_EQ(row["dtype"], "bf16 cache");
    EXPECT_GT(row["scratch_bytes"], 0);
    EXPECT_LE(row["accuracy"]["rel_norm"], 1e-2);  // bf16: steps of 2^-8
  }
  EXPECT_EQ(rows[3]["length"], 40);
  EXPECT_EQ(rows[7]["layer"], "attention.decode");
}

TEST(BenchCommand, SweepsAModelByDepth) {
  const Outcome o = RunCommand({"bench", "sweep", "-m", TinyModel(), "--depths", "0,8", "--prompt", "4",
                                "--generate", "2", "--samples", "1", "--no-peaks", "--json"});
  EXPECT_EQ(OutJson(o)["rows"].size(), 4u) << o;
}

TEST(BenchCommand, TunesAndLaterRunsSayThatTheyUseIt) {
  const TempDir cache;
  const std::string before = getenv("XDG_CACHE_HOME");
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  const std::vector<std::string> tune = {"bench",           "tune", "--preset",        "qwen3vl-4b.text",
                                         "--tiles",         "16",   "--q-rows",        "48",
                                         "--thread-counts", "1",    "--prompt",        "16",
                                         "--keys",          "16",   "--short-lengths", "4",
                                         "--samples",       "1",    "--json"};
  const Outcome dry = RunCommand(With(tune, {"--dry-run"}));
  EXPECT_GE(OutJson(dry)["rows"].size(), 4u) << dry;
  EXPECT_EQ(OutJson(RunCommand({"probe", "--json"}))["tuning"], "none stored");
  const Outcome o = RunCommand(tune);
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, HasSubstr("stored in " + cache.File("qwen3vl/tuning.json")));
  const nlohmann::json probe = OutJson(RunCommand({"probe", "--json"}));
  EXPECT_EQ(probe["tuning"], cache.File("qwen3vl/tuning.json"));
  EXPECT_THAT(probe["tile_reason"].get<std::string>(), HasSubstr("measured on this machine"));
  EXPECT_EQ(probe["default_threads"], 1);
  cache.Write("qwen3vl/tuning.json", "no JSON");
  const Outcome run = RunCommand({"run", "-m", TinyModel(), "-p", "Hello", "-n", "1"});
  EXPECT_EQ(run.exit_code, 0) << run;
  EXPECT_THAT(run.err, HasSubstr("stored tuning ignored"));
  setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

TEST(BenchCommand, ComparesTwoResults) {
  const Outcome lines = RunCommand(With(kTinyLayer, {"--format", "jsonl"}));
  ASSERT_EQ(lines.exit_code, 0) << lines.err;
  const TempDir folder;
  folder.Write("a.jsonl", lines.out);
  const std::string file = (folder.path() / "a.jsonl").string();
  const Outcome same = RunCommand({"bench", "compare", file, file});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("noise"));
  folder.Write("bad.json", "{\"rows\": 3}");
  const Outcome bad = RunCommand({"bench", "compare", file, (folder.path() / "bad.json").string()});
  EXPECT_EQ(bad.exit_code, 3);
  EXPECT_THAT(bad.err, HasSubstr("bad.json"));
}

TEST(BenchCommand, BadOptionsAreExitCode2) {
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{{"--preset", "gpt5"},
                                                                                    {"--format", "xml"},
                                                                                    {"--dtype", "f8"},
                                                                                    {"--path", "cuda"},
                                                                                    {"--isa", "mmx"}}) {
    const Outcome o = RunCommand(With({"bench", "layer"}, more));
    EXPECT_EQ(o.exit_code, 2) << more[1] << o.err;
    EXPECT_THAT(o.err, HasSubstr(more[1]));
  }
}

}  // namespace
}  // namespace qwen3vl::test
