// SPDX-License-Identifier: Apache-2.0
// `run`, `verify` and `profile` on the tiny model that comes with the sources (random weights: what is tested
// is how the parts go together, not what it says).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

Words Question(Words more) {
  Words words{"run", "-m", TinyModel(), "-n", "8", "--temp", "0"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Run, StreamsTheAnswerThatJsonHolds) {
  const Outcome text = RunCommand(Question({"-p", "Hello"}));
  ASSERT_EQ(text.exit_code, 0) << text;
  const Outcome json = RunCommand(Question({"-p", "Hello", "--json"}));
  ASSERT_EQ(json.exit_code, 0) << json;
  const nlohmann::json result = OutJson(json);
  std::string wanted = result["text"];
  if (!wanted.ends_with('\n')) wanted += '\n';
  EXPECT_EQ(text.out, wanted);
  EXPECT_LE(result["ids"].size(), 8u);
  EXPECT_GT(result["prompt_tokens"], 0);
}

TEST(Run, WithoutAModelTheDemoModelAnswersAndIsNamed) {
  const std::string picture = QWEN3VL_SOURCE_DIR "/models/demo/pictures/one.png";
  const Outcome o = RunCommand({"run", "--image", picture, "-p", "Describe the picture."});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, "a white square, a red square, a purple square and a yellow digit 5\n");
  EXPECT_THAT(o.err, HasSubstr("using the demo model"));
}

size_t CountOf(const std::string& part, const std::string& text) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Of all layers and tokens; where layer 3 falls back to is where the others do, for one cause more.
TEST(Run, WarnsOnceOfEachCauseOfAFallback) {
  setenv("QWEN3VL_FAULT", "nan,device", 1);
  const Outcome o = RunCommand({"run", "-m", QWEN3VL_SOURCE_DIR "/models/demo", "-p", "hi", "-n", "2",
                                "--check-finite", "--attention-layers", "3=cuda"});
  unsetenv("QWEN3VL_FAULT");
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(CountOf("attention: tiled: a result is not finite", o.err), 1u) << o;
  EXPECT_EQ(CountOf("attention: cuda: no device (asked for by QWEN3VL_FAULT); tiled: a result", o.err), 1u)
      << o;
}

TEST(Run, ShowsTheTileThatRan) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word ";
  const auto run = [&](const std::string& tile, const std::string& prompt) {
    const Outcome o =
        RunCommand({"run", "-m", TinyModel(), "-n", "1", "-p", prompt, "--tile", tile, "--json"});
    EXPECT_EQ(o.exit_code, 0) << o;
    return std::pair(OutJson(o)["tile"], OutJson(o)["tile_reason"]);
  };
  EXPECT_EQ(run("1", text),
            std::pair(nlohmann::json(16), nlohmann::json("tile 1 as asked, rounded up to 16")));
  EXPECT_EQ(run("100", text),
            std::pair(nlohmann::json(112), nlohmann::json("tile 100 as asked, rounded up to 112")));
  const auto [tile, reason] = run("65536", text);  // fewer keys than that
  EXPECT_LT(tile, 4096);
  EXPECT_THAT(reason.get<std::string>(), HasSubstr("tile 65536 as asked; " + tile.dump() + " "));
}

TEST(Run, DrawsTheBoxesOfTheAnswer) {
  const TempDir folder;
  const std::string picture = QWEN3VL_SOURCE_DIR "/models/demo/pictures/one.png",
                    out = folder.File("boxes.png");
  const Outcome found =
      RunCommand({"run", "--image", picture, "-p", "Where is the red square?", "--draw-boxes", out});
  ASSERT_EQ(found.exit_code, 0) << found;
  EXPECT_THAT(found.err, HasSubstr("boxes.png: 1 box: red square"));
  EXPECT_EQ(ReadFile(out).substr(1, 3), "PNG");
  const Outcome none =
      RunCommand({"run", "--image", picture, "-p", "How many objects are there?", "--draw-boxes", out});
  EXPECT_EQ(none.exit_code, 1) << none;
  EXPECT_THAT(none.err, HasSubstr("no box"));
}

TEST(Run, SaysBeforehandWhatItWillDo) {
  const Outcome o = RunCommand(Question({"--image", TinyPicture(), "-p", "What is this?", "--tile", "64"}));
  ASSERT_EQ(o.exit_code, 0) << o;
  for (const char* word : {"needed", "free", "picture.jpg", "resized to", "tokens", "tile", "64", "thread",
                           "t/s", "first token"})
    EXPECT_THAT(o.err, HasSubstr(word));
}

TEST(Run, PictureTokensFollowTheBounds) {
  const auto tokens = [](const char* most) {
    const Outcome o = RunCommand(Question({"--image", TinyPicture(), "-p", "x", "--json",
                                           "--min-image-tokens", "4", "--max-image-tokens", most}));
    EXPECT_EQ(o.exit_code, 0) << o;
    return OutJson(o)["image_tokens"].get<size_t>();
  };
  EXPECT_LE(tokens("16"), 16u);
  EXPECT_GT(tokens("64"), tokens("16"));
}

TEST(Run, PicturesAndClipsStandInTheOrderGiven) {
  const std::string one = DataPath("images/checker_64x64.png"), two = DataPath("images/noise_75x53.png");
  const std::string clip = DataPath("images/clip1_frame0.png") + "," + DataPath("images/clip1_frame1.png");
  const auto pictures = [](const Words& words) {
    const Outcome o = RunCommand(Question(words));
    EXPECT_EQ(o.exit_code, 0) << o;
    Words names;
    const nlohmann::json result = OutJson(o);
    for (const auto& p : result["pictures"]) names.push_back(p["name"]);
    return names;
  };
  EXPECT_THAT(pictures({"--image", one, "--video", clip, "--image", two, "-p", "x", "--json"}),
              testing::ElementsAre(one, clip, two));
  EXPECT_THAT(pictures({"-p", "x", "--image", two, "--image", one, "--video", clip, "--json"}),
              testing::ElementsAre(two, one, clip));
}

TEST(Run, PathTileThreadsAndChunkChangeNothingButRounding) {
  const nlohmann::json wanted =
      OutJson(RunCommand(Question({"--image", TinyPicture(), "-p", "x", "--json"})))["ids"];
  for (const Words& options :
       {Words{"--attention", "standard"}, Words{"--tile", "16"}, Words{"--threads", "3"},
        Words{"--chunk", "7"}, Words{"--attention-layers", "0=standard,1=tiled"},
        Words{"--kv-type", "f32"}}) {
    Words words = {"--image", TinyPicture(), "-p", "x", "--json"};
    words.insert(words.end(), options.begin(), options.end());
    const Outcome o = RunCommand(Question(words));
    ASSERT_EQ(o.exit_code, 0) << o;
    EXPECT_EQ(OutJson(o)["ids"], wanted) << testing::PrintToString(options);
  }
}

TEST(Run, SameSeedSameAnswer) {
  const Words options = {"run",    "-m",  TinyModel(), "-n", "12",     "-p",           "x",
                         "--temp", "1.5", "--top-k",   "0",  "--json", "--ignore-eos", "--seed"};
  const auto ids = [&](const char* seed) {
    Words words = options;
    words.push_back(seed);
    const Outcome o = RunCommand(words);
    EXPECT_EQ(o.exit_code, 0) << o;
    return OutJson(o)["ids"];
  };
  EXPECT_EQ(ids("7"), ids("7"));
  EXPECT_NE(ids("7"), ids("8"));
}

TEST(Run, GuessedTokensAreCountedAndChangeNothing) {
  // The demo model goes round in circles once its answer has ended.
  const Words options = {"run",    "-p",  "Count: one two three one two three one two",
                         "-n",     "120", "--ignore-eos",
                         "--temp", "0",   "--draft"};
  const auto answer = [&](const char* draft, bool json) {
    Words words = options;
    words.push_back(draft);
    if (json) words.push_back("--json");
    const Outcome o = RunCommand(words);
    EXPECT_EQ(o.exit_code, 0) << o;
    return o;
  };
  const nlohmann::json with = OutJson(answer("3", true)), without = OutJson(answer("0", true));
  EXPECT_EQ(with["ids"], without["ids"]);
  EXPECT_EQ(without["drafted_tokens"], 0);
  EXPECT_GT(with["accepted_tokens"], 0);
  EXPECT_GE(with["drafted_tokens"], with["accepted_tokens"]);
  EXPECT_THAT(answer("3", false).err, testing::ContainsRegex("[0-9]+ of [0-9]+ draft tokens accepted"));
  EXPECT_THAT(answer("0", false).err, testing::Not(testing::HasSubstr("draft token")));
  const Outcome o = RunCommand({"run", "-p", "x", "--draft", "4"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, testing::HasSubstr("--draft"));
}

TEST(Run, StopTextEndsTheAnswerAndIsNotPartOfIt) {
  const std::string whole = OutJson(RunCommand(Question({"-p", "Hello", "--json", "--ignore-eos"})))["text"];
  ASSERT_GT(whole.size(), 4u);
  const std::string stop = whole.substr(whole.size() / 2, 2);
  const Outcome o = RunCommand(Question({"-p", "Hello", "--json", "--ignore-eos", "--stop", stop}));
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(OutJson(o)["text"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(OutJson(o)["finish"], "stop");
}

TEST(Run, ReadsThePromptFromStdin) {
  const Outcome typed = RunCommand(Question({"-p", "Two\nlines", "--json"}));
  const Outcome piped = RunCommand(Question({"-p", "-", "--json"}), "Two\nlines\n");
  ASSERT_EQ(piped.exit_code, 0) << piped;
  EXPECT_EQ(OutJson(piped)["ids"], OutJson(typed)["ids"]);
  EXPECT_EQ(OutJson(piped)["prompt_tokens"], OutJson(typed)["prompt_tokens"]);
}

TEST(Run, FullContextIsACleanEnd) {
  const Outcome o = RunCommand(
      {"run", "-m", TinyModel(), "-p", "Hello", "-n", "100000", "--ignore-eos", "--ctx", "64", "--json"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(OutJson(o)["finish"], "context_full");
}

TEST(RunList, AnswersEveryLineAndReportsTheBadOnes) {
  const TempDir folder;
  const std::string list = folder.Write(
      "list.jsonl",
      nlohmann::json{{"id", 1}, {"prompt", "Hello"}}.dump() + "\n" +
          nlohmann::json{{"id", "two"}, {"prompt", "What?"}, {"images", {TinyPicture()}}}.dump() + "\n\n" +
          nlohmann::json{{"id", 3}, {"prompt", "x"}, {"images", {"no-such-picture.png"}}}.dump() +
          "\n{not json\n" + nlohmann::json{{"prompt", "Hello"}, {"colour", 1}}.dump() + "\n" +
          nlohmann::json{{"id", {1, 2}}, {"prompt", "Hello"}}.dump());
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-n", "8", "--temp", "0", "--input", list});
  EXPECT_EQ(o.exit_code, 1) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 6u) << o;
  EXPECT_EQ(lines[0]["ids"], OutJson(RunCommand(Question({"-p", "Hello", "--json"})))["ids"]);
  EXPECT_EQ(lines[1]["id"], "two");
  EXPECT_GT(lines[1]["image_tokens"], 0);
  EXPECT_THAT(lines[2]["error"].get<std::string>(), HasSubstr("no-such-picture.png"));
  EXPECT_EQ(lines[3]["line"], 5);
  EXPECT_TRUE(lines[3].contains("error"));
  EXPECT_THAT(lines[4]["error"].get<std::string>(), HasSubstr("colour"));
  EXPECT_EQ(lines[5]["ids"], lines[0]["ids"]);
}

TEST(RunList, ALineNestedWithoutEndIsThatLinesErrorAlone) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-n", "1", "--input", "-"},
                               "{\"id\": " + deep + ", \"prompt\": \"x\"}\n{\"prompt\": \"x\"}\n");
  EXPECT_EQ(o.exit_code, 1) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_EQ(lines[0]["error"], "line 1: JSON nested deeper than 64 levels");
  EXPECT_TRUE(lines[1].contains("text"));
}

TEST(RunList, TheDemoModelAnswersABatchOfPicturesAndBoxes) {
  const TempDir folder;
  const std::string one = QWEN3VL_SOURCE_DIR "/models/demo/pictures/one.png",
                    two = QWEN3VL_SOURCE_DIR "/models/demo/pictures/two.png";
  const auto ask = [](const char* prompt, std::vector<std::string> pictures) {
    return nlohmann::json{{"prompt", prompt}, {"images", std::move(pictures)}}.dump() + "\n";
  };
  const std::string list =
      folder.Write("list.jsonl", ask("Describe the picture.", {one}) + ask("Describe the picture.", {two}) +
                                     ask("Which picture has a green word SUN?", {one, two}));
  const Outcome o = RunCommand({"run", "--input", list});
  ASSERT_EQ(o.exit_code, 0) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 3u) << o;
  EXPECT_EQ(lines[0]["text"], "a white square, a red square, a purple square and a yellow digit 5");
  EXPECT_EQ(lines[1]["text"], "a green word SUN, a purple triangle and a blue circle");
  EXPECT_EQ(lines[2]["text"], "second");
}

TEST(RunList, LinesOfStdinAreAnsweredAsTheyCome) {
  Process process({"run", "-m", TinyModel(), "-n", "2", "--input", "-"});
  process.Write("{\"prompt\": \"a\"}\n");
  ASSERT_TRUE(process.WaitForOut("\n"));  // while stdin is still open
  process.Write("\n{\"prompt\": \"b\"}");
  const Outcome o = process.Finish();
  EXPECT_EQ(o.exit_code, 0) << o;
  const std::vector<nlohmann::json> lines = OutJsonLines(o);
  ASSERT_EQ(lines.size(), 2u) << o;
  EXPECT_EQ(lines[1]["line"], 3);
}

TEST(RunList, PicturesAreDescribedAndCountInTheMemory) {
  const std::string line = nlohmann::json{{"prompt", "x"}, {"images", {TinyPicture()}}}.dump() + "\n";
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-n", "2", "--input", "-"}, line);
  ASSERT_EQ(o.exit_code, 0) << o;
  const nlohmann::json once = OutJson(RunCommand(Question({"--image", TinyPicture(), "-p", "x", "--json"})));
  EXPECT_EQ(OutJsonLines(o).at(0)["pictures"], once["pictures"]);
  EXPECT_THAT(o.err, HasSubstr("line 1: " + TinyPicture() + ": 333x250, resized to"));
  EXPECT_THAT(o.err, testing::Not(HasSubstr("pictures 0 B")));
}

TEST(RunList, AllGoodEndsWithZero) {
  const Outcome o = RunCommand({"run", "-m", TinyModel(), "-n", "2", "--input", "-"},
                               "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n");
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(OutJsonLines(o).size(), 2u);
}

TEST(Verify, BothPathsAgreeOnEveryLayer) {
  for (const char* kv_type : {"f32", "f16", "q8_0"}) {
    const Outcome o = RunCommand({"verify", "-m", TinyModel(), "--image", TinyPicture(), "-p",
                                  "What is this?", "--kv-type", kv_type, "--json"});
    ASSERT_EQ(o.exit_code, 0) << o;
    const nlohmann::json report = OutJson(o);
    EXPECT_EQ(report["layers"].size(), 2u + 3u);  // text and vision layers of the model
    for (const auto& layer : report["layers"]) EXPECT_LE(layer["rel_norm"], 1e-4) << layer;
  }
}

TEST(Verify, ANumberThatIsNoneIsBeyondEveryTolerance) {
  setenv("QWEN3VL_FAULT", "nan", 1);
  const Outcome o = RunCommand({"verify", "-m", TinyModel(), "--attention", "tiled", "--json"});
  unsetenv("QWEN3VL_FAULT");
  EXPECT_EQ(o.exit_code, 1) << o;
  EXPECT_EQ(OutJson(o)["passed"], false);
  EXPECT_THAT(o.err, HasSubstr("BEYOND"));
}

// Where nothing else than standard attention ran there is nothing to compare.
TEST(Verify, FailsWhereALayerRanOnStandardAttentionAlone) {
  const auto expect_failure = [](const Words& more, const char* count) {
    Words words = {"verify", "-m", TinyModel(), "-p", "Hello"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = RunCommand(words);
    EXPECT_EQ(o.exit_code, 1) << o;
    EXPECT_THAT(o.err, HasSubstr("NOT verified: " + std::string(count) + " of 2 layers"));
  };
  expect_failure({"--attention", "standard"}, "2");
  expect_failure({"--attention-layers", "1=standard"}, "1");
  setenv("QWEN3VL_FAULT", "alloc", 1);
  expect_failure({}, "2");
  unsetenv("QWEN3VL_FAULT");
}

TEST(Verify, RunsOnModelsWithoutTokenizer) {
  const Outcome o = RunCommand({"verify", "-m", DataPath("models/tiny-b")});
  EXPECT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.out, HasSubstr("text.layer.1"));
}

TEST(Run, RefusesExactProductsInWholeNumbers) {
  const Outcome o =
      RunCommand({"run", "-m", TinyModel(), "-p", "Hello", "--exact", "--cpu-products", "int16"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("want one of them"));
}

TEST(Verify, LetsProductsInWholeNumbersRound) {
  Words words = {"verify", "-m", TinyModel(), "--cpu-products", "int16", "--json"};
  const Outcome o = RunCommand(words);
  EXPECT_EQ(o.exit_code, 0) << o;
  const nlohmann::json report = OutJson(o);
  EXPECT_EQ(report["tolerance"], 1e-3);
  double worst = 0;
  for (const auto& layer : report["layers"]) worst = std::max(worst, layer["rel_norm"].get<double>());
  EXPECT_GT(worst, 1e-6);  // float32 sums differ by less
  words.insert(words.end(), {"--tolerance", "1e-6"});
  EXPECT_EQ(RunCommand(words).exit_code, 1);
}

TEST(Verify, WantsMoreWhereNothingIsRounded) {
  for (const Words& more : {Words{"--cpu-products", "f32"}, Words{"--kv-type", "f32"}}) {
    Words words = {"verify", "-m", TinyModel(), "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome o = RunCommand(words);
    EXPECT_EQ(o.exit_code, 0) << o;
    EXPECT_EQ(OutJson(o)["tolerance"], 1e-4);
  }
}

TEST(Verify, FailsBeyondItsTolerance) {
  const Outcome o = RunCommand({"verify", "-m", TinyModel(), "--tolerance", "0", "--tile", "16"});
  EXPECT_EQ(o.exit_code, 1) << o;
  EXPECT_THAT(o.err, HasSubstr("BEYOND"));
}

TEST(Profile, SharesOfStagesAddUpAndShapesAreCounted) {
  const Outcome o = RunCommand(
      {"profile", "-m", TinyModel(), "--image", TinyPicture(), "-p", "What is this?", "-n", "4", "--json"});
  ASSERT_EQ(o.exit_code, 0) << o;
  const nlohmann::json report = OutJson(o);
  double share = 0;
  std::vector<std::string> stages;
  for (const auto& row : report["stages"])
    share += row["share"].get<double>(), stages.push_back(row["stage"]);
  EXPECT_NEAR(share, 1, 1e-9);
  EXPECT_THAT(stages, testing::ElementsAre("load", "preprocess", "encode", "prefill", "decode"));
  size_t vision_layers = 0, decode_calls = 0;
  for (const auto& row : report["attention"]) {
    if (row["stage"] == "encode") vision_layers = row["layers"];
    if (row["stage"] == "decode") decode_calls += row["calls"].get<size_t>();
  }
  EXPECT_EQ(vision_layers, 3u);
  EXPECT_EQ(decode_calls, 2u * 3u);  // two layers, and the first of four tokens needs no step
}

TEST(Profile, PrintsItsTables) {
  const Outcome o = RunCommand({"profile", "-m", TinyModel(), "-p", "Hello", "-n", "2"});
  ASSERT_EQ(o.exit_code, 0) << o;
  for (const char* word : {"prefill", "decode", "text.layer.1", "attention", "share"})
    EXPECT_THAT(o.out, HasSubstr(word));
}

}  // namespace
}  // namespace qwen3vl::test
