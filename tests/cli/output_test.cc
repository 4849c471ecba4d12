// SPDX-License-Identifier: Apache-2.0
// Where results and messages go: a stdout that takes nothing is an error, and bars are for terminals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

// Results of one piece and of many, streamed and at the end.
TEST(Output, ThatIsFullOrClosedIsAnErrorInOneLine) {
  const TempDir folder;
  const std::string err = folder.File("err"), model = " -m '" + TinyModel() + "'";
  for (const std::string& words :
       {"run -p Hello -n 2" + model, "run -p Hello -n 2 --json" + model, std::string("probe"),
        std::string("bench layer --preset gpt2 --kind norm --tokens 1 --samples 1 --no-peaks"),
        std::string(
            "bench layer --preset gpt2 --kind norm --tokens 1 --samples 1 --no-peaks --format jsonl")})
    for (const auto& [to, why] :
         {std::pair{">/dev/full", "No space left on device"}, {">&-", "Bad file descriptor"}}) {
      const std::string command = "'" QWEN3VL_COMMAND "' " + words + " " + to + " 2>'" + err + "'";
      const int status = std::system(command.c_str());
      EXPECT_EQ(WEXITSTATUS(status), 1) << command;
      const std::string said = ReadFile(err);
      const size_t at = said.find("qwen3vl: ");
      ASSERT_NE(at, std::string::npos) << command << "\n" << said;
      EXPECT_THAT(said.substr(at), HasSubstr(why)) << command;
      EXPECT_EQ(CountLines(said.substr(at)), 1u) << command << "\n" << said;  // and nothing after it
    }
}

// Else the next file that is opened gets the number of stderr, and the messages.
TEST(Output, GoesIntoNoFileWhenADescriptorIsClosed) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  for (const std::string closed : {"2>&-", "<&- >&- 2>&-"}) {
    const Outcome o = RunInShell("exec \"$@\" " + closed,
                                 {"trace", "-m", TinyModel(), "-p", "Hello", "--verbose", "--out", out});
    ASSERT_EQ(o.exit_code, 0) << closed << o;
    const GoldenFile file = GoldenFile::FromPath(out);
    const Outcome whole = RunCommand({"trace", "-m", TinyModel(), "-p", "Hello", "--out", out});
    ASSERT_EQ(whole.exit_code, 0) << whole;
    EXPECT_EQ(file["logits"].Floats(), GoldenFile::FromPath(out)["logits"].Floats()) << closed;
  }
}

// A limit stands for a full disk: both end a write.
TEST(Output, ThatDoesNotFitIsReportedAndLeavesWhatWasThere) {
  const TempDir folder;
  const std::string page = folder.Write("a.html", "earlier"), boxes = folder.Write("a.png", "earlier"),
                    trace = folder.Write("a.safetensors", "earlier"),
                    picture = QWEN3VL_SOURCE_DIR "/models/demo/pictures/one.png";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"trace", "-m", TinyModel(), "-p", "Hello", "--out", trace},
        {"bench", "layer", "--preset", "gpt2", "--kind", "norm", "--tokens", "1", "--samples", "1",
         "--no-peaks", "--report", page},
        {"run", "--image", picture, "-p", "Where is the red square?", "--draw-boxes", boxes}}) {
    const Outcome o = RunInShell("ulimit -f 1; exec \"$@\"", words);
    EXPECT_EQ(o.exit_code, 1) << o;
    EXPECT_THAT(o.err, HasSubstr(words.back() + ": writing failed: File too large")) << o;
    EXPECT_EQ(ReadFile(words.back()), "earlier");
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 3);  // no draft
}

TEST(Progress, IsDrawnOnTerminalsOnly) {
  const Outcome o =
      RunCommand({"run", "-m", TinyModel(), "--image", TinyPicture(), "-p", "Hello", "-n", "2"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, testing::AllOf(testing::Not(HasSubstr("\r")), testing::Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace qwen3vl::test
