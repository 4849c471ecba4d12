// SPDX-License-Identifier: Apache-2.0
// `bench`: rows on stdout and nothing else, and two results compared. No time is judged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <iterator>
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

std::string FirstCpu() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof mask, &mask);
  size_t cpu = 0;
  while (cpu + 1 < CPU_SETSIZE && !CPU_ISSET(cpu, &mask)) ++cpu;
  return std::to_string(cpu);
}

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

TEST(BenchCommand, SweepsProductsInWholeNumbers) {
  const std::vector<std::string> sweep = {"bench", "sweep",      "--cpu-products", "int16", "--samples",
                                          "1",     "--no-peaks", "--format",       "jsonl"};
  const std::vector<nlohmann::json> layers = OutJsonLines(RunCommand(
      With(sweep, {"--preset", "gpt2", "--lengths", "40", "--contexts", "30", "--attention", "tiled"})));
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0]["path"], "cpu_tiled, int16 products");
  EXPECT_EQ(layers[1]["path"], "cpu_tiled");  // one row has no such products
  const std::vector<nlohmann::json> model = OutJsonLines(
      RunCommand(With(sweep, {"-m", TinyModel(), "--depths", "0", "--prompt", "40", "--generate", "2"})));
  ASSERT_EQ(model.size(), 2u);
  EXPECT_THAT(model[0]["path"].get<std::string>(), HasSubstr("int16 products"));
  EXPECT_LE(model[0]["accuracy"]["rel_norm"], 2e-3);  // as in tests/bench/model_test.cc
}

// Where keys and values are rounded anyway, unless told otherwise.
TEST(BenchCommand, ModelsMultiplyPromptsInWholeNumbersByDefault) {
  const std::vector<std::string> bench = {"bench",     "model",    "-m",         TinyModel(),  "--depths",
                                          "0",         "--prompt", "60",         "--generate", "0",
                                          "--samples", "1",        "--no-peaks", "--format",   "jsonl"};
  const auto path = [&](const std::vector<std::string>& more) {
    return OutJsonLines(RunCommand(With(bench, more))).at(0)["path"].get<std::string>();
  };
  EXPECT_EQ(path({}), "cpu_tiled (int16 products of many rows)");
  EXPECT_EQ(path({"--kv-type", "q8_0"}), "cpu_tiled (int16 products of many rows)");
  EXPECT_EQ(path({"--kv-type", "f32"}), "cpu_tiled");
  EXPECT_EQ(path({"--cpu-products", "f32"}), "cpu_tiled");
  EXPECT_EQ(path({"--exact"}), "cpu_tiled");
}

TEST(BenchCommand, TimesAnswersFromFiles) {
  const TempDir folder;
  const std::vector<std::string> bench = {"bench",     "model",    "-m",         TinyModel(),  "--depths",
                                          "0",         "--prompt", "0",          "--generate", "0",
                                          "--samples", "1",        "--no-peaks", "--format",   "jsonl"};
  const std::string good =
      folder.Write("good.json", R"({"name": "song", "prompt": "Sing", "answer": "la la la la la"})");
  const std::vector<nlohmann::json> rows = OutJsonLines(RunCommand(With(bench, {"--answer", good})));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["layer"], "model.answer song");
  EXPECT_EQ(rows[1]["shape"]["draft"], 3);
  const auto refused = [&](const std::string& file, const char* why) {
    const Outcome o = RunCommand(With(bench, {"--answer", file}));
    EXPECT_EQ(o.exit_code, 3) << o;
    EXPECT_EQ(CountLines(o.err), 1u) << o;
    EXPECT_THAT(o.err, testing::AllOf(HasSubstr(file), HasSubstr(why)));
  };
  refused((folder.path() / "none.json").string(), "");
  refused(folder.Write("bad.json", "{not json"), "");
  refused(folder.Write("list.json", "[]"), "no text \"name\"");
  refused(folder.Write("short.json", R"({"name": "x", "prompt": 7, "answer": "y"})"), "no text \"prompt\"");
  EXPECT_EQ(RunCommand(bench).exit_code, 2);  // nothing to measure
}

TEST(BenchCommand, SweepsAModelByDepth) {
  const Outcome o = RunCommand({"bench", "sweep", "-m", TinyModel(), "--depths", "0,8", "--prompt", "4",
                                "--generate", "2", "--samples", "1", "--no-peaks", "--json"});
  EXPECT_EQ(OutJson(o)["rows"].size(), 4u) << o;
}

TEST(BenchCommand, RefusesWhatASweepWouldNotLookAt) {
  const auto refuse = [](const std::vector<std::string>& more, const char* why) {
    const Outcome o = RunCommand(With({"bench", "sweep"}, more));
    EXPECT_EQ(o.exit_code, 2) << o;
    EXPECT_EQ(CountLines(o.err), 1u) << o;
    EXPECT_THAT(o.err, testing::AllOf(HasSubstr(more.front()), HasSubstr(why)));
  };
  refuse({"--gpu-layers", "4"}, "want -m MODEL");
  refuse({"--chunk", "64"}, "want -m MODEL");
  refuse({"--depths", "0,8"}, "want -m MODEL");
  refuse({"--lengths", "20", "-m", TinyModel()}, "want no -m");
}

TEST(BenchCommand, TakesTheTilesThatRunTakes) {
  const auto tile = [](const std::string& text) {
    return RunCommand({"bench", "layer", "--preset", "gpt2", "--kind", "attention", "--lengths", "20",
                       "--path", "tiled", "--samples", "1", "--no-peaks", "--verbose", "--tile", text});
  };
  for (const char* good : {"auto", "prescribed", "16"}) EXPECT_EQ(tile(good).exit_code, 0) << good;
  const Outcome bad = tile("big");
  EXPECT_EQ(bad.exit_code, 2) << bad;
  EXPECT_THAT(bad.err, HasSubstr("auto, or prescribed"));
}

TEST(BenchCommand, TunesAndLaterRunsSayThatTheyUseIt) {
  const TempDir cache;
  const std::string before = getenv("XDG_CACHE_HOME");
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  const size_t usual = OutJson(RunCommand({"probe", "--json"}))["default_threads"];
  const std::string counts = "1," + std::to_string(usual);
  const std::vector<std::string> tune = {"bench",           "tune", "--preset",        "qwen3vl-4b.text",
                                         "--tiles",         "16",   "--q-rows",        "48",
                                         "--thread-counts", counts, "--prompt",        "16",
                                         "--keys",          "16",   "--short-lengths", "4",
                                         "--samples",       "1",    "--json"};
  const Outcome dry = RunCommand(With(tune, {"--dry-run"}));
  EXPECT_GE(OutJson(dry)["rows"].size(), 4u) << dry;
  EXPECT_EQ(OutJson(RunCommand({"probe", "--json"}))["tuning"], "none stored");
  const Outcome o = RunCommand(tune);
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, HasSubstr("stored in " + cache.File("qwen3vl/tuning.json")));
  const nlohmann::json probe = OutJson(RunCommand({"probe", "--json"}));
  EXPECT_THAT(probe["tuning"].get<std::string>(),
              testing::AllOf(testing::StartsWith(cache.File("qwen3vl/tuning.json")),
                             HasSubstr("; heads of 128 in groups of 4: tile ")));
  EXPECT_THAT(probe["tile_reason"].get<std::string>(), HasSubstr("measured on this machine"));
  EXPECT_THAT(probe["default_threads"].get<size_t>(), testing::AnyOf(1u, usual));
  cache.Write("qwen3vl/tuning.json", "no JSON");
  const Outcome run = RunCommand({"run", "-m", TinyModel(), "-p", "Hello", "-n", "1"});
  EXPECT_EQ(run.exit_code, 0) << run;
  EXPECT_THAT(run.err, HasSubstr("stored tuning ignored"));
  setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

TEST(BenchCommand, TuneLooksFirstWhetherItCanStore) {
  const TempDir folder;
  const std::string before = getenv("XDG_CACHE_HOME");
  setenv("XDG_CACHE_HOME", folder.Write("file", "").c_str(), 1);
  const Outcome o = RunCommand({"bench", "tune", "--preset", "gpt2"});
  setenv("XDG_CACHE_HOME", before.c_str(), 1);
  EXPECT_EQ(o.exit_code, 3) << o;
  EXPECT_THAT(o.err, HasSubstr("XDG_CACHE_HOME"));
  EXPECT_THAT(o.err, testing::Not(HasSubstr("attention.prefill")));  // nothing was measured
}

TEST(BenchCommand, TuneLeavesNoDraftOnAFullDisk) {
  const TempDir folder;
  const std::string before = getenv("XDG_CACHE_HOME");
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  const Outcome o = RunInShell("ulimit -f 0; exec \"$@\"", {"bench", "tune", "--preset", "gpt2"});
  setenv("XDG_CACHE_HOME", before.c_str(), 1);
  EXPECT_EQ(o.exit_code, 3) << o;
  EXPECT_THAT(o.err, testing::AllOf(HasSubstr("File too large"), HasSubstr("XDG_CACHE_HOME")));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "qwen3vl"));
}

TEST(BenchCommand, AResultThatIsNoNumberIsExitCode1) {
  setenv("QWEN3VL_FAULT", "nan", 1);
  const Outcome layer = RunCommand(With(kTinyLayer, {"--format", "jsonl"}));
  const Outcome model = RunCommand({"bench", "model", "-m", TinyModel(), "--prompt", "4", "--generate", "0",
                                    "--depths", "0", "--samples", "1", "--no-peaks", "--attention", "tiled"});
  unsetenv("QWEN3VL_FAULT");
  EXPECT_EQ(layer.exit_code, 1) << layer;
  EXPECT_THAT(layer.err, HasSubstr("WRONG RESULT: attention.prefill gpt2 cpu_tiled"));
  EXPECT_EQ(model.exit_code, 1) << model;
  const TempDir folder;
  const std::string file = folder.Write("a.jsonl", layer.out);
  EXPECT_THAT(RunCommand({"bench", "compare", file, file}).out, HasSubstr("GREW"));
}

// Three groups of rows with rests between them.
const std::vector<std::string> kSlowLayer = {"bench",      "layer", "--preset",  "gpt2", "--kind",    "norm",
                                             "--tokens",   "3,5,7", "--threads", "1",    "--samples", "2",
                                             "--cooldown", "0.3",   "--no-peaks"};

TEST(BenchCommand, CtrlCKeepsTheRowsThatAreFinished) {
  for (const auto& [format, lines] : {std::pair{"csv", 2u}, {"jsonl", 1u}}) {
    const TempDir folder;
    const std::string report = folder.Write("report.html", "an earlier one");
    Process process(With(kSlowLayer, {"--format", format, "--report", report}));
    ASSERT_TRUE(process.WaitForErr("tokens 5"));
    process.Interrupt();
    const Outcome o = process.Finish();
    EXPECT_EQ(o.exit_code, 130) << o;
    EXPECT_THAT(o.out, HasSubstr("--tokens 3"));
    EXPECT_EQ(CountLines(o.out), lines) << o;
    EXPECT_THAT(ReadFile(report), HasSubstr("tokens 3"));
  }
}

TEST(BenchCommand, AReportIsReplacedByAWholeOneOnly) {
  const TempDir folder;
  const std::string report = folder.Write("report.html", "an earlier one");
  Process process(With(kSlowLayer, {"--report", report}));
  ASSERT_TRUE(process.WaitForErr("tokens 3"));
  process.Interrupt();
  EXPECT_EQ(process.Finish().exit_code, 130);
  EXPECT_EQ(ReadFile(report), "an earlier one");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // no draft
  const Outcome nowhere = RunCommand(With(kSlowLayer, {"--report", folder.File("no/folder.html")}));
  EXPECT_EQ(nowhere.exit_code, 3) << nowhere;
  EXPECT_THAT(nowhere.err, HasSubstr("cannot be written"));
  EXPECT_THAT(nowhere.err, testing::Not(HasSubstr("tokens 3")));
}

TEST(BenchCommand, QuietSamplesOrNone) {
  const Outcome o = RunCommand(With(kTinyLayer, {"--quiet", "0.05", "--json"}));
  if (o.exit_code == 0) {  // as the machine is
    for (const auto& row : OutJson(o)["rows"]) {
      EXPECT_EQ(row["samples"].size(), 2u);
      EXPECT_TRUE(row["busy_samples"].is_array());
      EXPECT_THAT(row["command"].get<std::string>(), HasSubstr("--quiet 0.05"));
    }
    return;
  }
  EXPECT_EQ(o.exit_code, 1) << o;
  EXPECT_EQ(o.out, "");
  EXPECT_THAT(o.err, HasSubstr("samples were taken on quiet cores, want"));
  EXPECT_THAT(o.err, HasSubstr("nothing was measured"));
}

TEST(BenchCommand, NamesThatAreUnknownShowBeforeAnythingIsMeasured) {
  const Outcome o = RunCommand(With(kTinyLayer, {"--isa", "baseline,foo", "--format", "jsonl"}));
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_EQ(o.out, "");
}

TEST(BenchCommand, RowsCarryEveryOptionThatRepeatsThem) {
  const TempDir folder;
  const std::string model = folder.File("a model");
  std::filesystem::create_directory_symlink(TinyModel(), model);
  const Outcome o = RunCommand({"bench",      "model",  "-m",         model,   "--prompt",      "4",
                                "--generate", "0",      "--depths",   "0",     "--samples",     "1",
                                "--seconds",  "0.25",   "--warmup",   "2",     "--max-seconds", "7.5",
                                "--no-peaks", "--tile", "prescribed", "--pin", FirstCpu(),      "--json"});
  const std::string command = OutJson(o)["rows"][0]["command"];
  for (const std::string& part :
       {"-m '" + model + "'", std::string("--tile prescribed"), std::string("--samples 1 "),
        std::string("--max-seconds 7.5"), std::string("--warmup 2"), std::string("--seconds 0.25"),
        "--pin " + FirstCpu(), std::string("--no-peaks")})
    EXPECT_THAT(command, HasSubstr(part));
}

TEST(BenchCommand, FormatsAreWhatTheyAreCalled) {
  EXPECT_THAT(RunCommand(With(kTinyLayer, {"--format", "csv"})).out, testing::StartsWith("schema,layer,"));
  EXPECT_THAT(RunCommand(With(kTinyLayer, {"--format", "markdown"})).out, testing::StartsWith("| layer |"));
}

TEST(BenchCommand, ComparesTwoResults) {
  const Outcome lines = RunCommand(With(kTinyLayer, {"--format", "jsonl"}));
  ASSERT_EQ(lines.exit_code, 0) << lines.err;
  const TempDir folder;
  folder.Write("a.jsonl", lines.out);
  const std::string file = (folder.path() / "a.jsonl").string();
  const Outcome same = RunCommand({"bench", "compare", file, file});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("too few samples"));  // two
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
