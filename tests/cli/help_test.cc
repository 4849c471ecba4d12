// SPDX-License-Identifier: Apache-2.0
// --help teaches, and bad usage is one line with a hint and exit code 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <sstream>

#include "process.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

struct HelpCase {
  std::vector<std::string> command;
  std::vector<std::string> mentions;
};

TEST(Help, OfEverySubcommandNamesItsOptionsAndShowsExamples) {
  const std::vector<std::string> session = {"--threads",
                                            "--ctx",
                                            "--kv-type",
                                            "--tile",
                                            "--isa",
                                            "--attention",
                                            "--attention-layers",
                                            "--chunk",
                                            "--cpu-products",
                                            "--gpu-scores",
                                            "--exact",
                                            "--check-finite",
                                            "--min-image-tokens",
                                            "--max-image-tokens",
                                            "--gpu-layers",
                                            "--gpu-vision",
                                            "--repack"};
  std::vector<HelpCase> cases = {
      {{"run"}, {"--model",          "--mmproj",           "--image", "--video",  "--fps",        "--alpha",
                 "--max-pixels",     "--prompt",           "--input", "--system", "--max-tokens", "--stop",
                 "--ignore-eos",     "--no-think",         "--temp",  "--top-p",  "--top-k",      "--min-p",
                 "--repeat-penalty", "--presence-penalty", "--seed",  "--json",   "--verbose",    "130"}},
      {{"chat"}, {"/image", "/video", "/clear", "/quit", "Ctrl-C", "--system", "--temp"}},
      {{"probe"}, {"--json"}},
      {{"inspect"}, {"--image-size", "--tensors", "--json", "--ctx"}},
      {{"tokenize"}, {"--file", "--decode", "--json"}},
      {{"verify"}, {"--tolerance", "1e-4", "--image"}},
      {{"profile"}, {"--json", "--image", "--prompt"}},
      {{"trace"}, {"--ids", "--generate", "--only", "--out", "f32", "greedy_step_logits"}},
      {{"trace", "attention"}, {"--in", "--out", "--tile", "--kv-type", "softcap", "valid_range", "lse"}},
      {{"bench", "layer"}, {"--preset", "--kind", "--seconds", "--cooldown", "--pin", "--format", "gpt2"}},
      {{"bench", "model"},
       {"--model", "--prompt", "--generate", "--depths", "--kv-type", "--tile", "--gpu-layers"}},
      {{"bench", "image"}, {"--model", "--sizes", "--counts", "--samples"}},
      {{"bench", "sweep"}, {"--preset", "--lengths", "--contexts", "--depths", "--attention"}},
      {{"bench", "tune"}, {"--preset", "--tiles", "--q-rows", "--thread-counts", "tuning.json"}},
      {{"bench", "compare"}, {"--alpha", "--min-change", "noise"}}};
  for (HelpCase& c : cases) {
    if (c.command[0] == "run" || c.command[0] == "chat" || c.command[0] == "verify")
      c.mentions.insert(c.mentions.end(), session.begin(), session.end());
    c.command.push_back("--help");
    const Outcome o = RunCommand(c.command);
    EXPECT_EQ(o.exit_code, 0) << o;
    EXPECT_EQ(o.err, "");
    for (const std::string& word : c.mentions) EXPECT_THAT(o.out, HasSubstr(word)) << c.command[0];
    EXPECT_THAT(o.out, HasSubstr("Example")) << c.command[0];
    std::istringstream lines(o.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120u) << line;
  }
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
