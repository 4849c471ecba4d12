// SPDX-License-Identifier: Apache-2.0
// Pictures in `qwen3vl chat`: how they are named, and that one which cannot be used does not stay in the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

Words Chat(Words more) {
  Words words = {"chat", "-m", TinyModel(), "-n", "3", "--temp", "0", "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string LongText() {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word ";
  return text;
}

TEST(ChatPictures, OneThatTheContextCannotHoldIsNotTaken) {
  const Outcome o =
      RunCommand(Chat({"--ctx", "64", "--max-image-tokens", "1000"}), "/image " + TinyPicture() + "\nHi\n");
  EXPECT_EQ(o.exit_code, 1) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_THAT(lines[0]["error"].get<std::string>(), HasSubstr("no room"));
  EXPECT_THAT(lines[1]["error"].get<std::string>(), HasSubstr("not asked"));
}

TEST(ChatPictures, AreShrunkToAQuarterOfTheContext) {
  const Outcome o = RunCommand(Chat({"--ctx", "160"}), "/image " + TinyPicture() + "\nHi\n");
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_LE(OutJsonLines(o).at(0)["image_tokens"], 40);
  EXPECT_THAT(o.err, testing::Not(HasSubstr("pictures 0 B")));
}

TEST(ChatPictures, OfAFailedQuestionAreDroppedAndSaidSo) {
  const Outcome o =
      RunCommand(Chat({"--ctx", "160"}), "/image " + TinyPicture() + "\n" + LongText() + "\nHi\n");
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_THAT(lines[0]["error"].get<std::string>(), HasSubstr("/clear"));
  EXPECT_EQ(lines[1]["image_tokens"], 0);
  EXPECT_THAT(o.err, HasSubstr("dropped: the question, " + TinyPicture()));
}

TEST(ChatPictures, AClipWithFramesOfSeveralSizesIsRefusedAtOnce) {
  const std::string odd = DataPath("images/noise_75x53.png");
  const Outcome o =
      RunCommand(Chat({}), "/video " + DataPath("images/clip1_frame0.png") + "," + odd + "\nHi\n");
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_THAT(lines[0]["error"].get<std::string>(), HasSubstr(odd));
}

// In a script, whose next question is about the picture.
TEST(ChatPictures, AQuestionWhosePictureFailedIsNotAsked) {
  for (const std::string command : {"/image", "/image no-such.png", "/video no-such-folder"}) {
    const Outcome o =
        RunCommand(Chat({}), "/image " + TinyPicture() + "\n" + command + "\nWhat is this?\nHi\n");
    EXPECT_EQ(o.exit_code, 1) << o;
    const std::vector<nlohmann::json> lines = OutJsonLines(o);
    ASSERT_EQ(lines.size(), 3u) << o;
    EXPECT_THAT(lines[1]["error"].get<std::string>(),
                testing::AllOf(HasSubstr("not asked: 'What is this?'"), HasSubstr(command)));
    EXPECT_EQ(lines[2]["image_tokens"], 0);
  }
}

TEST(ChatPictures, AQuestionStoppedBeforeItsAnswerIsDroppedWithThem) {
  Process process(
      Chat({"--min-image-tokens", "5000", "--max-image-tokens", "6000", "--ctx", "16384", "--verbose"}));
  process.Write("/image " + TinyPicture() + "\nWhat is this?\n");
  ASSERT_TRUE(process.WaitForErr("phase: encode"));
  process.Interrupt();
  ASSERT_TRUE(process.WaitForErr("dropped: the question"));
  process.Write("Hi\n/quit\n");
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 0) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_EQ(lines[0]["finish"], "cancelled");
  EXPECT_EQ(lines[1]["image_tokens"], 0);
  EXPECT_EQ(lines[1]["finish"], "length");
}

// HOME for the commands started while it lives.
class Home {
 public:
  explicit Home(const std::string& folder) {
    if (const char* old = std::getenv("HOME")) old_ = old;
    setenv("HOME", folder.c_str(), /*overwrite=*/1);
  }
  ~Home() { old_ ? setenv("HOME", old_->c_str(), /*overwrite=*/1) : unsetenv("HOME"); }

 private:
  std::optional<std::string> old_;
};

TEST(ChatPictures, NamesMayBeQuotedBeginAtHomeAndEndInSpaces) {
  const TempDir folder;
  const std::string picture = ReadFile(DataPath("images/checker_64x64.png"));
  const std::string spaced = folder.Write("a b.png", picture);
  folder.Write("'quoted'", picture);
  const Home home(folder.path().string());
  const Outcome o =
      RunCommand(Chat({}), "/image '" + spaced + "' \n/image \"" + spaced + "\"\n/image \t" + spaced +
                               "  \n/image ~/a b.png\n/image " + folder.File("'quoted'") + "\n");
  EXPECT_EQ(o.exit_code, 0) << o;
  size_t announced = 0;
  for (size_t at = 0; (at = o.err.find("64x64, resized", at)) != std::string::npos; ++at) ++announced;
  EXPECT_EQ(announced, 5u) << o;
}

}  // namespace
}  // namespace qwen3vl::test
