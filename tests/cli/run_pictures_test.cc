// SPDX-License-Identifier: Apache-2.0
// What `run` makes of the sizes of pictures, and where it may draw boxes. The picture has 333 x 250 pixels,
// about 80 tokens.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "process.h"
#include "support/bmp.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

constexpr const char* kShrunk = "so that the context holds it";

Outcome Ask(Words more) {
  more.insert(more.begin(),
              {"run", "-m", TinyModel(), "-n", "1", "-p", "x", "--json", "--image", TinyPicture()});
  return RunCommand(more);
}

TEST(RunPictures, LargeOnesAreShrunkToHalfTheContext) {
  const Outcome one = Ask({"--ctx", "100"});
  ASSERT_EQ(one.exit_code, 0) << one;
  EXPECT_LE(OutJson(one)["image_tokens"], 50);
  EXPECT_GT(OutJson(one)["image_tokens"], 30);
  EXPECT_THAT(one.err, HasSubstr(kShrunk));
  const Outcome two = Ask({"--ctx", "100", "--image", TinyPicture()});
  ASSERT_EQ(two.exit_code, 0) << two;
  EXPECT_LE(OutJson(two)["image_tokens"], 50);
}

TEST(RunPictures, ThatFitKeepTheirSize) {
  const nlohmann::json wanted = OutJson(Ask({}))["pictures"];
  const Outcome o = Ask({"--ctx", "200"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(OutJson(o)["pictures"], wanted);
  EXPECT_THAT(o.err, Not(HasSubstr(kShrunk)));
}

TEST(RunPictures, AGivenBoundIsObeyedAndTheMessageNamesAContextThatHoldsThePrompt) {
  const Outcome o = Ask({"--ctx", "64", "--max-image-tokens", "1000"});
  EXPECT_EQ(o.exit_code, 1) << o;
  const nlohmann::json whole = OutJson(Ask({"--max-image-tokens", "1000"}));
  EXPECT_THAT(o.err, HasSubstr("raise it to " + whole["prompt_tokens"].dump()));
}

TEST(RunPictures, MayComeThroughAPipe) {
  const auto ask = [](const std::string& picture, const std::string& input) {
    return RunCommand({"run", "-m", TinyModel(), "-n", "8", "-p", "x", "--json", "--image", picture}, input);
  };
  std::ifstream file(TinyPicture(), std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const nlohmann::json wanted = OutJson(ask(TinyPicture(), ""));
  const nlohmann::json piped = OutJson(ask("-", bytes));
  EXPECT_EQ(piped["text"], wanted["text"]);
  EXPECT_EQ(piped["image_tokens"], wanted["image_tokens"]);
  EXPECT_EQ(piped["pictures"][0]["name"], "standard input");

  const TempDir folder;
  const std::string pipe = folder.File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::signal(SIGPIPE, SIG_IGN);  // where nobody reads to the end, the writer just fails
  const std::jthread writer([&] { std::ofstream(pipe, std::ios::binary) << bytes; });
  const Outcome read = ask(pipe, "");
  // A writer that nobody has read from still waits for a reader: here is one.
  const int released = open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(OutJson(read)["text"], wanted["text"]);
  ASSERT_GE(released, 0);
  close(released);

  for (const std::string bad : {"", "not a picture", "\xff\xd8\xff\xe0 cut off"}) {
    const Outcome o = ask("-", bad);
    EXPECT_EQ(o.exit_code, 3) << o;
    EXPECT_THAT(o.err, HasSubstr("standard input: "));
  }
}

TEST(RunPictures, TraceKeepsTheReferenceSize) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  const Outcome o = RunCommand({"trace", "-m", TinyModel(), "-p", "x", "--image", TinyPicture(), "--ctx",
                                "120", "--only", "input_ids", "--out", out});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(GoldenFile::FromPath(out)["input_ids"].size(), OutJson(Ask({}))["prompt_tokens"]);
}

TEST(RunPictures, FramesOfSeveralSizesAreABadFileNamed) {
  const std::string odd = DataPath("images/noise_75x53.png");
  const Outcome o = RunCommand(
      {"run", "-m", TinyModel(), "-p", "x", "--video", DataPath("images/clip1_frame0.png") + "," + odd});
  EXPECT_EQ(o.exit_code, 3) << o;
  EXPECT_THAT(o.err, HasSubstr(odd + ": 75x53, but "));
  EXPECT_EQ(CountLines(o.err), 1u) << o;
}

TEST(RunPictures, AllThatAreHeldCountInTheMemory) {
  const TempDir folder;
  const std::string picture = folder.Write("a.bmp", BlackBmp(1000, 700));  // 2.0 MiB
  Words words = {"run", "-m", TinyModel(), "-n", "1", "-p", "x", "--max-image-tokens", "4"};
  for (int i = 0; i < 8; ++i) words.insert(words.end(), {"--image", picture});
  const Outcome o = RunCommand(words);
  ASSERT_EQ(o.exit_code, 0) << o;
  const std::string before = "pictures ";
  const size_t at = o.err.find(before);
  ASSERT_NE(at, std::string::npos) << o;
  EXPECT_GT(std::strtod(o.err.c_str() + at + before.size(), nullptr), 16) << o;
  EXPECT_THAT(o.err.substr(at, 20), HasSubstr("MiB"));
}

TEST(RunPictures, ClipsMayHaveOneFrameAndTinyOnes) {
  const TempDir folder;
  const std::string one = folder.Write("one/a.bmp", BlackBmp(100, 64));
  for (const char* name : {"tiny/1.bmp", "tiny/2.bmp", "tiny/3.bmp"}) folder.Write(name, BlackBmp(100, 20));
  for (const std::string& clip : {one, folder.File("one"), folder.File("tiny")}) {
    const Outcome o = RunCommand({"run", "-m", TinyModel(), "-n", "1", "-p", "x", "--video", clip});
    EXPECT_EQ(o.exit_code, 0) << clip << o;
  }
}

TEST(RunPictures, ClipsAreSampledAsTheModelsFilesSay) {
  const TempDir folder;
  for (const auto& entry : std::filesystem::directory_iterator(TinyModel()))
    folder.Write(entry.path().filename().string(), ReadFile(entry.path()));
  nlohmann::json config = nlohmann::json::parse(ReadFile(folder.path() / "video_preprocessor_config.json"));
  config["min_frames"] = 2, config["max_frames"] = 3, config["fps"] = 1;
  folder.Write("video_preprocessor_config.json", config.dump());
  for (const char* name : {"1", "2", "3", "4", "5", "6"})
    folder.Write(std::string("clip/") + name + ".bmp", BlackBmp(64, 64));
  const std::string clip = folder.File("clip"),
                    line = nlohmann::json{{"prompt", "x"}, {"video", clip}}.dump();
  const Words start = {"run", "-m", folder.path().string(), "-n", "1", "--fps"};
  const auto ask = [&](const char* fps, Words more) {
    more.insert(more.begin(), fps);
    more.insert(more.begin(), start.begin(), start.end());
    return RunCommand(more, line).err;
  };
  EXPECT_THAT(ask("24", {"-p", "x", "--video", clip}), HasSubstr("2 frames of"));
  EXPECT_THAT(ask("1", {"-p", "x", "--video", clip}), HasSubstr("3 frames of"));
  EXPECT_THAT(ask("1", {"--input", "-"}), HasSubstr("3 frames of"));
}

TEST(DrawBoxes, RefusesItsFileBeforeTheAnswer) {
  const TempDir folder;
  const std::string picture = folder.Write("in.png", ReadFile(DataPath("images/checker_64x64.png")));
  struct Case {
    std::string out;
    int code;
    const char* mention;
  };
  for (const Case& c : {Case{folder.File("missing/b.png"), 3, "cannot be written"},
                        Case{folder.File("b.jpg"), 2, "ends in .png"},
                        Case{folder.path().string() + "/./in.png", 2, "the picture itself"}}) {
    const Outcome o =
        RunCommand({"run", "-m", TinyModel(), "-p", "x", "--image", picture, "--draw-boxes", c.out});
    EXPECT_EQ(o.exit_code, c.code) << o;
    EXPECT_EQ(o.out, "");
    EXPECT_THAT(o.err, testing::AllOf(HasSubstr(c.mention), Not(HasSubstr("memory:")))) << o;
  }
  EXPECT_EQ(ReadFile(picture), ReadFile(DataPath("images/checker_64x64.png")));
}

}  // namespace
}  // namespace qwen3vl::test
