// SPDX-License-Identifier: Apache-2.0
// --help teaches, and bad usage is one line with a hint and exit code 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>

#include "process.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

using Words = std::vector<std::string>;

// The options that a help text lists, by their long names. Descriptions are indented further.
std::set<std::string> OptionsOf(const std::string& help) {
  const std::regex option(R"(\n  (?:-\w,)?(--[a-z][a-z-]*))");
  std::set<std::string> names;
  for (std::sregex_iterator i(help.begin(), help.end(), option), end; i != end; ++i) names.insert((*i)[1]);
  return names;
}

// Names those that only one of them has.
void ExpectSame(const std::set<std::string>& found, const std::set<std::string>& wanted) {
  Words more, less;
  std::ranges::set_difference(found, wanted, std::back_inserter(more));
  std::ranges::set_difference(wanted, found, std::back_inserter(less));
  EXPECT_THAT(more, testing::IsEmpty()) << "not expected";
  EXPECT_THAT(less, testing::IsEmpty()) << "missing";
}

// Several subcommands take the same ones.
const Words kModel = {"--model", "--mmproj", "--verbose"};
const Words kAttention = {"--threads",      "--kv-type",    "--attention", "--tile",
                          "--cpu-products", "--gpu-scores", "--isa"};
const Words kSession = {"--attention-layers",
                        "--ctx",
                        "--chunk",
                        "--min-image-tokens",
                        "--max-image-tokens",
                        "--max-video-tokens",
                        "--exact",
                        "--check-finite",
                        "--force",
                        "--gpu-layers",
                        "--gpu-vision",
                        "--repack"};
const Words kPictures = {"--fps", "--alpha", "--max-pixels"};
const Words kMedia = {"--prompt", "--ids", "--image", "--video"};
const Words kAnswer = {"--max-tokens", "--stop",     "--ignore-eos",     "--draft",
                       "--think",      "--no-think", "--temp",           "--top-p",
                       "--top-k",      "--min-p",    "--repeat-penalty", "--presence-penalty",
                       "--seed"};
const Words kMeasure = {"--verbose", "--threads", "--isa",      "--samples", "--warmup",
                        "--pin",     "--seconds", "--cooldown", "--quiet",   "--max-seconds",
                        "--format",  "--report",  "--no-peaks", "--json"};
const Words kBenchModel = {"--model",  "--mmproj",     "--kv-type",    "--attention",
                           "--tile",   "--gpu-layers", "--gpu-scores", "--gpu-vision",
                           "--repack", "--chunk",      "--exact",      "--cpu-products"};

struct HelpCase {
  Words command;
  std::vector<Words> options;
  Words mentions = {};
};

std::vector<HelpCase> HelpCases() {
  return {{{"run"},
           {kModel,
            kAttention,
            kSession,
            kPictures,
            kAnswer,
            {"--json", "--prompt", "--image", "--video", "--system", "--input", "--draw-boxes"}},
           {"130"}},
          {{"chat"},
           {kModel, kAttention, kSession, kPictures, kAnswer, {"--json", "--system"}},
           {"/image", "/video", "/clear", "/quit", "Ctrl-C"}},
          {{"probe"}, {{"--json", "--verbose", "--isa"}}},
          {{"inspect"}, {kModel, kAttention, kSession, {"--json", "--image-size", "--tensors"}}},
          {{"tokenize"}, {{"--model", "--file", "--decode", "--skip-special", "--json"}}},
          {{"verify"},
           {kModel, kAttention, kSession, kPictures, kMedia, {"--json", "--max-tokens", "--tolerance"}},
           {"1e-4"}},
          {{"profile"}, {kModel, kAttention, kSession, kPictures, kMedia, {"--json", "--max-tokens"}}},
          {{"trace"},
           {kModel, kAttention, kSession, kPictures, kMedia, {"--generate", "--only", "--out"}},
           {"f32", "greedy_step_logits"}},
          {{"trace", "attention"},
           {kAttention, {"--in", "--out", "--check-finite", "--verbose"}},
           {"softcap", "valid_range", "lse"}},
          {{"bench", "layer"},
           {kMeasure,
            {"--preset", "--kind", "--lengths", "--contexts", "--tokens", "--dtype", "--path", "--tile",
             "--q-rows", "--check-rows", "--max-standard", "--exact", "--repack"}},
           {"gpt2"}},
          {{"bench", "model"}, {kMeasure, kBenchModel, {"--prompt", "--generate", "--depths", "--answer"}}},
          {{"bench", "image"}, {kMeasure, kBenchModel, {"--sizes", "--counts"}}},
          {{"bench", "sweep"},
           {kMeasure,
            kBenchModel,
            {"--preset", "--lengths", "--contexts", "--max-standard", "--depths", "--prompt", "--generate"}}},
          {{"bench", "tune"},
           {kMeasure,
            {"--model", "--mmproj", "--preset", "--tiles", "--q-rows", "--thread-counts", "--prompt",
             "--keys", "--short-lengths", "--dry-run"}},
           {"tuning.json"}},
          {{"bench", "compare"}, {{"--alpha", "--min-change", "--json"}}, {"noise"}}};
}

TEST(Help, OfEverySubcommandListsItsOptionsAndShowsExamples) {
  for (HelpCase c : HelpCases()) {
    SCOPED_TRACE(testing::PrintToString(c.command));
    c.command.push_back("--help");
    const Outcome o = RunCommand(c.command);
    EXPECT_EQ(o.exit_code, 0) << o;
    EXPECT_EQ(o.err, "");
    std::set<std::string> wanted = {"--help"};
    for (const Words& group : c.options) wanted.insert(group.begin(), group.end());
    ExpectSame(OptionsOf(o.out), wanted);
    for (const std::string& word : c.mentions) EXPECT_THAT(o.out, HasSubstr(word));
    EXPECT_THAT(o.out, HasSubstr("Example"));
    std::istringstream lines(o.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120u) << line;
  }
}

// An option is a word of its own in the sources; none of them is kept from the reader of --help.
TEST(Help, OfSomeSubcommandListsEveryOptionOfTheSources) {
  std::set<std::string> registered = {"--help"}, listed = OptionsOf(RunCommand({"--help"}).out);
  const std::regex word("\"(?:-\\w,)?(--[a-z][a-z-]*)\"");
  for (const auto& file : std::filesystem::directory_iterator(QWEN3VL_SOURCE_DIR "/src/qwen3vl/cli")) {
    if (file.path().extension() != ".cc") continue;
    const std::string text = ReadFile(file.path());
    for (std::sregex_iterator i(text.begin(), text.end(), word), end; i != end; ++i)
      registered.insert((*i)[1]);
  }
  for (const HelpCase& c : HelpCases())
    for (const Words& group : c.options) listed.insert(group.begin(), group.end());
  ExpectSame(listed, registered);
}

TEST(Help, OfTheCommandListsSubcommandsAndExitCodes) {
  const Outcome o = RunCommand({"--help"});
  EXPECT_EQ(o.exit_code, 0) << o;
  for (const char* word : {"run", "chat", "probe", "inspect", "tokenize", "verify", "profile", "trace",
                           "bench", "Exit codes", "QWEN3VL_ISA", "QWEN3VL_FAULT"})
    EXPECT_THAT(o.out, HasSubstr(word));
  EXPECT_EQ(RunCommand({"--version"}).exit_code, 0);
}

TEST(BadUsage, IsOneLineWithTheOptionAndAHint) {
  struct Case {
    std::vector<std::string> arguments;
    std::string mention;
  };
  const std::vector<Case> cases = {
      {{}, "subcommand"},
      {{"fly"}, "fly"},
      {{"run", "--no-such-option"}, "--no-such-option"},
      {{"verify", "-p", "x"}, "--model"},
      {{"run", "-m", "x"}, "-p"},
      {{"run", "-m", "x", "-p", "y", "--input", "z"}, "--input"},
      {{"run", "-m", "x", "-p", "-", "--image", "-"}, "one thing from stdin"},
      {{"run", "-m", "x", "-p", "y", "--image", "-", "--image", "-"}, "one thing from stdin"},
      {{"verify", "-m", "x", "-p", "-", "--image", "-"}, "one thing from stdin"},
      {{"run", "-m", "x", "-p", "y", "--draw-boxes", "o.png"}, "exactly one --image"},
      {{"run", "-m", "x", "--input", "z", "--draw-boxes", "o.png"}, "--draw-boxes"},
      {{"run", "-m", "x", "-p", "y", "-n", "many"}, "many"},
      {{"run", "-m", "x", "-p", "y", "-n", "-3"}, "-3"},
      {{"run", "-m", "x", "-p", "y", "--ctx", "99999999999999999999"}, "--ctx"},
      {{"run", "-m", "x", "-p", "y", "--kv-type", "f8"}, "q8_0"},
      {{"run", "-m", "x", "-p", "y", "--gpu-scores", "int4"}, "f32 or int8"},
      {{"run", "-m", "x", "-p", "y", "--cpu-products", "int8"}, "f32 or int16"},
      {{"run", "-m", "x", "-p", "y", "--attention", "fast"}, "standard"},
      {{"run", "-m", "x", "-p", "y", "--attention-layers", "3"}, "8-15=standard"},
      {{"run", "-m", "x", "-p", "y", "--attention-layers", "9-3=tiled"}, "9-3=tiled"},
      {{"run", "-m", "x", "-p", "y", "--tile", "0"}, "65536"},
      {{"run", "-m", "x", "-p", "y", "--tile", "65537"}, "65537"},
      {{"run", "-m", "x", "-p", "y", "--tile", "wide"}, "wide"},
      {{"run", "-m", "x", "-p", "y", "--temp", "hot"}, "hot"},
      {{"run", "-m", "x", "-p", "y", "--temp", "nan"}, "nan"},
      {{"run", "-m", "x", "-p", "y", "--top-p", "1.5"}, "1.5"},
      {{"run", "-m", "x", "-p", "y", "--top-p", "0"}, "a number above 0, at most 1"},
      {{"run", "-m", "x", "-p", "y", "--repeat-penalty", "0"}, "want a number above 0;"},
      {{"run", "-m", "x", "-p", "y", "--repeat-penalty", "-1"}, "want a number above 0;"},
      {{"run", "-m", "x", "-p", "y", "--fps", "0"}, "from 0.001 to 10000"},
      {{"run", "-m", "", "-p", "y"}, "--model"},
      {{"chat", "-m", ""}, "--model"},
      {{"tokenize", "-m", "", "y"}, "--model"},
      {{"run", "-m", "x", "-p", "y", "-p", "z"}, "more than once"},
      {{"run", "-m", "x", "-m", "y", "-p", "z"}, "more than once"},
      {{"inspect", "x", "-m", "y"}, "one of them"},
      {{"run", "-m", "x", "-p", "y", "--alpha", "black"}, "black"},
      {{"run", "-m", "x", "-p", "y", "--threads", "0"}, "--threads"},
      {{"run", "-m", "x", "-p", "y", "--image"}, "--image"},
      {{"inspect"}, "MODEL"},
      {{"inspect", "x", "--image-size", "12"}, "1024x768"},
      {{"trace", "-m", "x", "-p", "y"}, "--out"},
      {{"trace", "-m", "x", "--out", "y"}, "-p"},
      {{"trace", "attention", "--in", "x"}, "--out"},
      {{"tokenize", "text"}, "--model"}};
  for (const Case& c : cases) {
    const Outcome o = RunCommand(c.arguments);
    const std::string shown = testing::PrintToString(c.arguments);
    EXPECT_EQ(o.exit_code, 2) << shown << o;
    EXPECT_EQ(o.out, "") << shown;
    EXPECT_EQ(CountLines(o.err), 1u) << shown << o;
    EXPECT_THAT(o.err, HasSubstr(c.mention)) << shown;
    EXPECT_THAT(o.err, HasSubstr("--help")) << shown;
  }
}

TEST(Usage, OfAnOptionGivenTwiceTheLastCounts) {
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-p", "x", "-n", "9", "--threads", "1", "--threads",
                                "2", "-n", "1", "--json", "--ignore-eos"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(OutJson(o)["threads"], 2);
  EXPECT_EQ(OutJson(o)["ids"].size(), 1u);
}

TEST(Help, OfBenchShowsBench) {
  const Outcome o = RunCommand({"bench", "--help"});
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.out, testing::AllOf(HasSubstr("bench tune"), testing::Not(HasSubstr("qwen3vl chat"))));
}

TEST(Help, ThatCannotBeWrittenIsAnError) {
  const int status = std::system("'" QWEN3VL_COMMAND "' --help > /dev/full 2> /dev/null");
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(BadUsage, UnknownInstructionSetNamesTheKnownOnes) {
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-p", "x", "--isa", "sse9"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("avx2"));
}

}  // namespace
}  // namespace qwen3vl::test
