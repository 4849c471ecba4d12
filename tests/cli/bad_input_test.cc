// SPDX-License-Identifier: Apache-2.0
// Bad files and impossible wishes: one line that names what, found, wanted; the right exit code; nothing on
// stdout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "process.h"
#include "support/bmp.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Words = std::vector<std::string>;

// The last line of stderr: errors come last, after what the run said it would do.
std::string LastLine(const std::string& text) {
  if (text.empty()) return "";
  const size_t end = text.ends_with('\n') ? text.size() - 1 : text.size();
  const size_t begin = text.rfind('\n', end - 1);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1));
}

void ExpectRefusal(const Words& words, int code, const std::string& mention, const std::string& input = "") {
  const Outcome o = RunCommand(words, input);
  EXPECT_EQ(o.exit_code, code) << testing::PrintToString(words) << o;
  EXPECT_EQ(o.out, "") << testing::PrintToString(words);
  EXPECT_THAT(LastLine(o.err), testing::AllOf(testing::StartsWith("qwen3vl: "), HasSubstr(mention)))
      << testing::PrintToString(words) << o;
}

void CopyModel(const TempDir& folder) {
  for (const auto& entry : fs::directory_iterator(TinyModel()))
    folder.Write(entry.path().filename().string(), ReadFile(entry.path()));
}

TEST(BadModel, MissingIsExitCode3EverywhereInOneLine) {
  const TempDir folder;
  for (const Words& words :
       {Words{"run", "-m", "no-such-model", "-p", "x"}, Words{"chat", "-m", "no-such-model"},
        Words{"inspect", "no-such-model"}, Words{"tokenize", "-m", "no-such-model", "x"},
        Words{"verify", "-m", "no-such-model"}, Words{"profile", "-m", "no-such-model", "-p", "x"},
        Words{"trace", "-m", "no-such-model", "-p", "x", "--out", folder.File("out")}}) {
    const Outcome o = RunCommand(words);
    EXPECT_EQ(o.exit_code, 3) << words[0] << o;
    EXPECT_EQ(CountLines(o.err), 1u) << words[0] << o;
    EXPECT_THAT(o.err, HasSubstr("no-such-model")) << words[0];
    EXPECT_EQ(o.out, "") << words[0];
  }
}

TEST(BadModel, DamagedFilesAreExitCode3) {
  const TempDir folder;
  const std::string gguf = ReadFile(DataPath("gguf/models/tiny-moe-bf16.gguf"));
  const Words files = {folder.Write("empty.gguf", ""), folder.Write("text.gguf", "this is no model"),
                       folder.Write("cut.gguf", gguf.substr(0, gguf.size() / 2)),
                       folder.Write("head.gguf", gguf.substr(0, 30))};
  for (const std::string& file : files)
    ExpectRefusal({"run", "-m", file, "-p", "x"}, 3, fs::path(file).filename());
  const TempDir nothing;
  ExpectRefusal({"run", "-m", nothing.path().string(), "-p", "x"}, 3, nothing.path().filename().string());
}

TEST(BadModel, DamagedFoldersAreExitCode3) {
  const TempDir folder;
  CopyModel(folder);
  const auto refuse_with = [&](const std::string& name, const std::string& bytes) {
    const std::string good = ReadFile(folder.path() / name);
    folder.Write(name, bytes);
    ExpectRefusal({"run", "-m", folder.path().string(), "-p", "x", "-n", "1"}, 3, name);
    folder.Write(name, good);
  };
  refuse_with("config.json", "{");
  refuse_with("config.json", "{\"model_type\": \"gpt2\"}");
  refuse_with("tokenizer.json", "[]");
  const std::string weights = ReadFile(folder.path() / "model.safetensors");
  refuse_with("model.safetensors", weights.substr(0, weights.size() - 100));
  refuse_with("model.safetensors", "");
}

TEST(BadPicture, IsExitCode3AndNamed) {
  const TempDir folder;
  const std::string picture = ReadFile(TinyPicture());
  const std::pair<std::string, std::string> cases[] = {
      {folder.File("missing.png"), "missing.png"},
      {folder.Write("empty.png", ""), "empty"},
      {folder.Write("text.png", "hello"), "text.png"},
      {folder.Write("cut.jpg", picture.substr(0, 200)), "cut.jpg"},
      {folder.path().string(), folder.path().filename().string()}};
  for (const auto& [file, mention] : cases)
    ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--image", file}, 3, mention);
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--image", TinyPicture(), "--max-pixels", "100"}, 3,
                "--max-pixels");
}

TEST(BadPicture, ExtremeShapesAreRefusedByName) {
  const TempDir folder;
  const std::string thin = folder.Write("thin.bmp", BlackBmp(1, 20000));
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--image", thin}, 3, "thin.bmp");
}

TEST(BadClip, FoldersAndVideoFilesAreExitCode3) {
  const TempDir folder;
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--video", folder.path().string()}, 3, "no frames");
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--video", folder.File("none")}, 3, "none");
  for (const char* name : {"clip.mp4", "CLIP.MOV"})
    ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--video", folder.Write(name, "....ftyp")}, 3,
                  "--fps 2");
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--video", ","}, 2, "--video");
}

TEST(BadPrompt, OverTheContextNamesTheOption) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "word ";
  ExpectRefusal({"run", "-m", TinyModel(), "-p", text, "--ctx", "64"}, 1, "--ctx");
}

TEST(BadPrompt, IdsOutOfRangeAndMalformedLists) {
  const TempDir folder;
  const std::string out = folder.File("out.safetensors");
  const auto trace = [&](const std::string& ids) {
    return Words{"trace", "-m", DataPath("models/tiny-b"), "--ids", folder.Write("ids.json", ids),
                 "--out", out};
  };
  ExpectRefusal(trace("[1, 2, 5000]"), 3, "ids.json: token id 5000 at index 2");
  ExpectRefusal(trace("[1, -2]"), 3, "-2");
  ExpectRefusal(trace("[]"), 3, "no tokens");
  ExpectRefusal(trace("[1, \"a\"]"), 3, "ids.json");
  ExpectRefusal(trace("[1, 2"), 3, "ids.json");
  ExpectRefusal(trace("[99999999999]"), 3, "ids.json");
  ExpectRefusal(trace("[1, [2, 3]]"), 3, "array, want token ids");
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  ExpectRefusal(trace("[" + deep + "]"), 3, "ids.json: JSON nested deeper than 64 levels");
  ExpectRefusal({"tokenize", "-m", TinyModel(), "--decode", "--file", folder.Write("deep.json", deep)}, 3,
                "deep.json: JSON nested deeper than 64 levels");
  EXPECT_FALSE(fs::exists(out));
}

TEST(BadPrompt, PlaceholdersAndPicturesMustMatch) {
  const TempDir folder;
  const std::string out = folder.File("out.safetensors"), picture = DataPath("images/checker_64x64.png");
  const nlohmann::json config = nlohmann::json::parse(ReadFile(DataPath("models/tiny-moe/config.json")));
  const int image = config["image_token_id"], start = config["vision_start_token_id"];
  const std::string one = folder.Write(
      "ids.json",
      nlohmann::json{1, start, image, image, image, image, config["vision_end_token_id"], 2}.dump());
  const Words base = {"trace", "-m", DataPath("models/tiny-moe"), "--ids", one, "--out", out};
  const auto with = [&](Words more) {
    more.insert(more.begin(), base.begin(), base.end());
    return more;
  };
  ASSERT_EQ(RunCommand(with({"--image", picture})).exit_code, 0);  // 64 x 64 pixels are four tokens
  fs::remove(out);
  for (const Words& more : {Words{}, Words{"--image", picture, "--image", picture}}) {
    ExpectRefusal(with(more), 3, "ids.json: ");
    ExpectRefusal(with(more), 3, "give --image");
  }
  EXPECT_FALSE(fs::exists(out));
}

TEST(BadPrompt, OfIdsMayBeginWithAByteOrderMark) {
  const TempDir folder;
  for (const char* ids : {"\xEF\xBB\xBF[1, 2, 3]",
                          "\xEF\xBB\xBF"
                          "1 2 3"}) {
    const Outcome o = RunCommand({"trace", "-m", DataPath("models/tiny-b"), "--ids",
                                  folder.Write("ids.json", ids), "--out", folder.File("out.safetensors")});
    EXPECT_EQ(o.exit_code, 0) << o;
  }
}

TEST(BadList, OfANameThatNoFileCanHaveIsExitCode3) {
  const std::string name(5000, 'a');
  for (const Words& words :
       {Words{"run", "-m", TinyModel(), "--input", name}, Words{"bench", "compare", name, name},
        Words{"tokenize", "-m", TinyModel(), "--file", name}})
    ExpectRefusal(words, 3, "aaa: File name too long");
}

TEST(BadInput, ThatCannotBeReadIsNoEndOfInput) {
  for (const Words& words :
       {Words{"chat", "-m", TinyModel()}, Words{"run", "-m", TinyModel(), "--input", "-"}}) {
    const Outcome o = RunInShell("exec \"$@\" </", words);
    EXPECT_EQ(o.exit_code, 3) << o;
    EXPECT_THAT(LastLine(o.err), HasSubstr("standard input: cannot be read: Is a directory"));
  }
}

TEST(TextOnlyModel, RefusesPicturesAndNamesMmproj) {
  ExpectRefusal({"run", "-m", DataPath("gguf/models/tiny-q-q4_0.gguf"), "-p", "x", "--image", TinyPicture()},
                3, "--mmproj");
  const Outcome o =
      RunCommand({"chat", "-m", DataPath("gguf/models/tiny-q-q4_0.gguf")}, "/image " + TinyPicture() + "\n");
  EXPECT_THAT(o.err, HasSubstr("--mmproj")) << o;
}

TEST(ModelWithoutTokenizer, TakesIdsOnly) {
  ExpectRefusal({"run", "-m", DataPath("models/tiny-b"), "-p", "x"}, 3, "tokenizer");
  ExpectRefusal({"chat", "-m", DataPath("models/tiny-b")}, 3, "tokenizer");
  ExpectRefusal({"tokenize", "-m", DataPath("models/tiny-b"), "x"}, 3, "token");
}

TEST(BadOptions, ThatOnlyTheModelCanJudgeAreExitCode2) {
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--ctx", "100000000"}, 2, "context");
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--attention-layers", "7=tiled"}, 2, "layers 0 to 1");
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--min-image-tokens", "9", "--max-image-tokens", "8"},
                2, "image tokens");
  ExpectRefusal({"run", "-m", TinyModel(), "-p", "x", "--image", TinyPicture(), "--min-image-tokens", "9",
                 "--max-image-tokens", "8"},
                2, "image tokens");
  ExpectRefusal({"bench", "model", "-m", TinyModel(), "--depths", "0,1000000", "--no-peaks"}, 2, "1000");
}

// Also where nothing is computed on them.
TEST(BadEnvironment, IsExitCode2Everywhere) {
  for (const auto& [name, value] : {std::pair{"QWEN3VL_FAULT", "bogus"}, {"QWEN3VL_ISA", "mmx"}}) {
    setenv(name, value, 1);
    for (const Words& words :
         {Words{"run", "-m", TinyModel(), "-p", "x"}, Words{"probe"}, Words{"inspect", TinyModel()},
          Words{"tokenize", "-m", TinyModel(), "x"}, Words{"verify", "-m", TinyModel()},
          Words{"bench", "compare", "a.json", "b.json"}, Words{"chat", "-m", TinyModel()}})
      ExpectRefusal(words, 2, name);
    EXPECT_EQ(RunCommand({"run", "--help"}).exit_code, 0);
    unsetenv(name);
  }
}

TEST(Memory, ARunThatCannotFitNamesTheOptionThatHelps) {
  const TempDir
      folder;  // the tiny model, made for a thousand million tokens: 1 KiB each as f16, 1 TiB together
  CopyModel(folder);
  nlohmann::json config = nlohmann::json::parse(ReadFile(folder.path() / "config.json"));
  config["text_config"]["max_position_embeddings"] = 1'000'000'000;
  folder.Write("config.json", config.dump());
  Words words = {"run", "-m", folder.path().string(), "-p", "x", "--ctx", "1000000000"};
  ExpectRefusal(words, 1, "use --ctx ");
  ExpectRefusal({"run", "-m", folder.path().string(), "-p", "x", "--image", TinyPicture(),
                 "--min-image-tokens", "100000000"},
                1, " --min-image-tokens ");
  words.insert(words.end(), {"--force", "-n", "1"});
  EXPECT_THAT(RunCommand(words).err, testing::Not(HasSubstr("are free")));  // it is tried, however it ends
}

TEST(Output, ThatCannotBeWrittenIsReported) {
  const TempDir folder;
  const std::string out = folder.File("missing-folder/out.safetensors");
  ExpectRefusal({"trace", "-m", TinyModel(), "-p", "x", "--out", out}, 3, "missing-folder");
  // Before the model is looked for.
  ExpectRefusal({"trace", "-m", "no-such-model", "-p", "x", "--out", folder.path().string()}, 3, "a folder");
}

}  // namespace
}  // namespace qwen3vl::test
