// SPDX-License-Identifier: Apache-2.0
// Ctrl-C in every phase of `run`, and in `chat`; SIGTERM and SIGHUP. Without it each of these runs would take
// minutes; a run that does not end is killed by the helper and fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>

#include "process.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using Words = std::vector<std::string>;

Words EndlessAnswer() {
  return {"run",    "-m",    TinyModel(), "-p",           "Hello",  "-n",
          "200000", "--ctx", "200000",    "--ignore-eos", "--temp", "0"};
}

TEST(Interrupt, InTheAnswerKeepsTheTextSoFar) {
  Process process(EndlessAnswer());
  ASSERT_TRUE(process.WaitForErr("attention:"));
  ASSERT_TRUE(process.WaitForOut("a") || process.WaitForOut(" "));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o.err;
  EXPECT_FALSE(o.timed_out);
  EXPECT_NE(o.out, "");
}

TEST(Interrupt, InThePrompt) {
  std::string text;
  for (int i = 0; i < 60000; ++i) text += "word ";
  Process process(
      {"run", "-m", TinyModel(), "-p", "-", "--ctx", "200000", "--verbose", "--attention", "standard"});
  process.Write(text);
  process.CloseInput();
  ASSERT_TRUE(process.WaitForErr("phase: prompt"));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o.err;
  EXPECT_FALSE(o.timed_out);
}

TEST(Interrupt, WhileAPictureIsEncoded) {
  Process process({"run", "-m", TinyModel(), "--image", TinyPicture(), "-p", "x", "--min-image-tokens",
                   "12000", "--max-image-tokens", "16000", "--ctx", "32768", "--verbose"});
  ASSERT_TRUE(process.WaitForErr("phase: encode"));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o.err;
  EXPECT_FALSE(o.timed_out);
}

TEST(Interrupt, RightAtTheStart) {
  Process process(EndlessAnswer());
  ASSERT_TRUE(process.WaitForErr("model:"));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o.err;
}

TEST(Interrupt, OfATraceLeavesNoFile) {
  const TempDir folder;
  Process process({"trace", "-m", TinyModel(), "-p", "Hello", "--generate", "100000", "--ctx", "200000",
                   "--out", folder.File("trace.safetensors")});
  ASSERT_TRUE(process.WaitForErr("attention:"));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Interrupt, InAListEndsAfterTheCurrentLine) {
  Words words = EndlessAnswer();
  words[3] = "--input", words[4] = "-";
  Process process(words);
  process.Write("{\"prompt\": \"Hello\"}\n{\"prompt\": \"Hello\"}\n");
  process.CloseInput();
  ASSERT_TRUE(process.WaitForErr("attention:"));
  process.Interrupt();
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 130) << o;
  EXPECT_LE(OutJsonLines(o).size(), 1u);
}

TEST(Interrupt, StopsTheAnswerOfAChatAndNotTheChat) {
  Process process({"chat", "-m", TinyModel(), "-n", "200000", "--ctx", "200000", "--ignore-eos", "--temp",
                   "0", "--json", "--verbose"});
  process.Write("Hello\n");
  ASSERT_TRUE(process.WaitForErr("phase: answer"));
  process.Interrupt();
  ASSERT_TRUE(process.WaitForOut("\n"));
  process.Write("/quit\n");
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 0) << o;
  ASSERT_EQ(OutJsonLines(o).size(), 1u) << o;
  EXPECT_EQ(OutJsonLines(o)[0]["finish"], "cancelled");
}

TEST(Interrupt, OtherSignalsEndWithTheirExitCodes) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    Process process(EndlessAnswer());
    ASSERT_TRUE(process.WaitForErr("attention:"));
    ASSERT_TRUE(process.WaitForOut("a") || process.WaitForOut(" "));
    process.Signal(signal);
    const Outcome o = process.Finish();
    EXPECT_EQ(o.exit_code, 128 + signal) << o.err;
    EXPECT_NE(o.err.find("ended by cancelled"), std::string::npos) << o.err;
  }
}

TEST(Interrupt, OtherSignalsEndAChat) {
  for (const bool asked : {false, true}) {
    Process process({"chat", "-m", TinyModel(), "-n", "200000", "--ctx", "200000", "--ignore-eos", "--temp",
                     "0", "--json", "--verbose"});
    ASSERT_TRUE(process.WaitForErr("ready"));
    if (asked) {
      process.Write("Hello\n");
      ASSERT_TRUE(process.WaitForErr("phase: answer"));
    }
    process.Signal(SIGTERM);
    const Outcome o = process.Finish();
    EXPECT_EQ(o.exit_code, 143) << o;
    EXPECT_EQ(OutJsonLines(o).size(), asked ? 1u : 0u) << o;
  }
}

TEST(Interrupt, IsIgnoredWhereTheParentIgnoresIt) {
  signal(SIGINT, SIG_IGN);  // as a shell does for a job in the background
  Process process({"run", "-m", TinyModel(), "-p", "Hello", "-n", "300", "--ignore-eos"});
  signal(SIGINT, SIG_DFL);
  ASSERT_TRUE(process.WaitForErr("attention:"));
  process.Interrupt();
  EXPECT_EQ(process.Finish().exit_code, 0);
}

TEST(Interrupt, TwiceAtTheChatPromptLeaves) {
  Process process({"chat", "-m", TinyModel()});
  ASSERT_TRUE(process.WaitForErr("ready"));
  process.Interrupt();
  ASSERT_TRUE(process.WaitForErr("/quit"));
  process.Interrupt();
  EXPECT_EQ(process.Finish().exit_code, 130);
}

}  // namespace
}  // namespace qwen3vl::test
