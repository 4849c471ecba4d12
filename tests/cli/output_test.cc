// SPDX-License-Identifier: Apache-2.0
// Where results and messages go: a stdout that takes nothing is an error, and bars are for terminals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

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
    for (const char* to : {">/dev/full", ">&-"}) {
      const std::string command = "'" QWEN3VL_COMMAND "' " + words + " " + to + " 2>'" + err + "'";
      const int status = std::system(command.c_str());
      EXPECT_EQ(WEXITSTATUS(status), 1) << command;
      const std::string said = ReadFile(err);
      const size_t at = said.find("qwen3vl: ");
      ASSERT_NE(at, std::string::npos) << command << "\n" << said;
      EXPECT_EQ(CountLines(said.substr(at)), 1u) << command << "\n" << said;  // and nothing after it
    }
}

TEST(Progress, IsDrawnOnTerminalsOnly) {
  const Outcome o =
      RunCommand({"run", "-m", TinyModel(), "--image", TinyPicture(), "-p", "Hello", "-n", "2"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, testing::AllOf(testing::Not(HasSubstr("\r")), testing::Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace qwen3vl::test
