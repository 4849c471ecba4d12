// SPDX-License-Identifier: Apache-2.0
// `qwen3vl chat` from a pipe.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kChat = {"chat", "-m", TinyModel(), "-n", "6", "--temp", "0", "--json"};

TEST(Chat, EndOfInputEndsWithZero) {
  const Outcome o = RunCommand(kChat, "");
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, "");
}

TEST(Chat, LaterTurnsReuseTheCachePicturesIncluded) {
  const Outcome o =
      RunCommand(kChat, "/image " + TinyPicture() + "\nWhat is this?\nAnd its colour?\nThank you\n/quit\n");
  ASSERT_EQ(o.exit_code, 0) << o;
  const std::vector<nlohmann::json> turns = OutJsonLines(o);
  ASSERT_EQ(turns.size(), 3u) << o;
  EXPECT_EQ(turns[0]["reused_tokens"], 0);
  EXPECT_GT(turns[0]["image_tokens"], 0);
  for (size_t i : {1, 2}) {
    // All of the picture, and so at least its tokens, comes from the cache.
    EXPECT_GE(turns[i]["reused_tokens"], turns[i]["image_tokens"]);
    EXPECT_EQ(turns[i]["image_tokens"], turns[0]["image_tokens"]);
    EXPECT_EQ(turns[i]["seconds"]["encode"], 0);
    EXPECT_GT(turns[i]["prompt_tokens"], turns[i - 1]["prompt_tokens"]);
  }
}

TEST(Chat, TheDemoModelAnswersLaterQuestionsOnThePictureInTheCache) {
  const std::string picture = QWEN3VL_SOURCE_DIR "/models/demo/pictures/one.png";
  const Outcome o =
      RunCommand({"chat"}, "/image " + picture + "\nHow many objects are there?\nWhat digit is it?\n/quit\n");
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, "4\n5\n");
}

TEST(Chat, ClearForgets) {
  const Outcome o = RunCommand(kChat, "Hello\n/clear\nHello\n");
  const std::vector<nlohmann::json> turns = OutJsonLines(o);
  ASSERT_EQ(turns.size(), 2u) << o;
  EXPECT_EQ(turns[0]["ids"], turns[1]["ids"]);
  EXPECT_EQ(turns[1]["reused_tokens"], 0);
}

TEST(Chat, BadCommandsAreReportedAndTheTalkGoesOn) {
  const Outcome o = RunCommand({"chat", "-m", TinyModel(), "-n", "4"},
                               "/fly\n/image no-such-picture.png\n/clear\n/help\nHello\n");
  EXPECT_EQ(o.exit_code, 1) << o;  // a script's turns failed
  EXPECT_THAT(o.err, HasSubstr("/fly"));
  EXPECT_THAT(o.err, HasSubstr("no-such-picture.png"));
  EXPECT_THAT(o.err, HasSubstr("/clear"));
  EXPECT_NE(o.out, "");
}

TEST(Chat, AByteOrderMarkIsNoPartOfTheFirstLine) {
  const Outcome o = RunCommand(kChat, "\xEF\xBB\xBF/quit\nHello\n");
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, "");
}

TEST(Chat, LinesMayGoOn) {
  const Outcome two = RunCommand(kChat, "Hello\\\nworld\n");
  EXPECT_EQ(OutJsonLines(two).size(), 1u) << two;
}

TEST(Chat, PromptOverTheContextIsReportedAndTheTalkGoesOn) {
  std::vector<std::string> words = kChat;
  words.insert(words.end(), {"--ctx", "48"});
  std::string text;
  for (int i = 0; i < 200; ++i) text += "word ";
  const Outcome o = RunCommand(words, text + "\nHi\n/quit\n");
  EXPECT_EQ(o.exit_code, 1) << o;
  const std::vector<nlohmann::json> turns = OutJsonLines(o);
  ASSERT_EQ(turns.size(), 2u) << o;
  EXPECT_THAT(turns[0]["error"].get<std::string>(), testing::AllOf(HasSubstr("--ctx"), HasSubstr("/clear")));
  EXPECT_TRUE(turns[1].contains("text"));
}

}  // namespace
}  // namespace qwen3vl::test
