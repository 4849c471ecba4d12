// SPDX-License-Identifier: Apache-2.0
// `qwen3vl trace` against the recordings of the Hugging Face modeling code: every tensor of the trace
// contract that a case holds. Limits: Tolerances in tests/data/README.md; ids, positions, grids and greedy
// tokens are exact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "process.h"
#include "support/golden.h"
#include "support/near.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

struct RecordedCase {
  std::string model;  // "tiny-b"
  nlohmann::json json;
};
void PrintTo(const RecordedCase& c, std::ostream* os) { *os << c.model << "/" << c.json["name"]; }

std::vector<RecordedCase> RecordedCases() {
  std::vector<RecordedCase> cases;
  for (const char* model : {"tiny-a", "tiny-b", "tiny-moe"}) {
    const std::string list = std::string("cases/") + model + "/cases.json";
    if (!DataExists(list) || !DataExists(std::string("models/") + model)) continue;
    const nlohmann::json recorded = ReadJson(list);
    for (const nlohmann::json& c : recorded["cases"])
      if (DataExists(c["file"].get<std::string>())) cases.push_back({model, c});
  }
  return cases;
}

// Arguments that trace the case; `out` is the file to write.
Words TraceArguments(const RecordedCase& c, const TempDir& folder, const std::string& out) {
  Words words = {"trace",
                 "-m",
                 DataPath("models/" + c.model),
                 "--ids",
                 folder.Write("ids.json", c.json["input_ids"].dump()),
                 "--out",
                 out,
                 "--generate",
                 std::to_string(c.json["greedy_tokens"].size())};
  for (const std::string image : c.json["images"]) words.insert(words.end(), {"--image", DataPath(image)});
  for (const auto& frames : c.json["videos"]) {
    std::string list;
    for (const std::string frame : frames) list += (list.empty() ? "" : ",") + DataPath(frame);
    words.insert(words.end(), {"--video", list});
  }
  return words;
}

// The last rows of `t` that `wanted` holds.
std::vector<float> LastRows(const GoldenTensor& t, const GoldenTensor& wanted) {
  const std::vector<float> all = t.Floats();
  EXPECT_GE(all.size(), wanted.size());
  return {all.end() - static_cast<std::ptrdiff_t>(std::min(all.size(), wanted.size())), all.end()};
}

void ExpectGreedySteps(const GoldenFile& found, const GoldenFile& wanted) {
  const size_t vocab_size = wanted["greedy_step_logits"].shape[1];
  const std::vector<float> all = found["greedy_step_logits"].Floats(),
                           rows = wanted["greedy_step_logits"].Floats();
  const std::vector<int32_t> index = wanted["greedy_step_index"].Ints();
  for (size_t i = 0; i < index.size(); ++i)
    EXPECT_TRUE(AllNear(std::span(all).subspan(static_cast<size_t>(index[i]) * vocab_size, vocab_size),
                        std::span(rows).subspan(i * vocab_size, vocab_size), kHiddenTolerance))
        << "step " << index[i];
}

// What the trace contract leaves out: parts of layers, tables, runs of other precision.
bool InContract(const std::string& name) {
  return name.find("rope") == std::string::npos && name.find("router_logits") == std::string::npos &&
         name != "last_logits_f64" && name != "greedy_step_index";
}

void ExpectEqualToRecording(const GoldenFile& found, const RecordedCase& c) {
  const GoldenFile wanted(c.json["file"].get<std::string>());
  for (const auto& [name, tensor] : wanted.tensors()) {
    if (!InContract(name)) continue;
    SCOPED_TRACE(name);
    if (name == "greedy_step_logits") {
      ExpectGreedySteps(found, wanted);
    } else if (name == "logits_tail") {
      EXPECT_TRUE(AllNear(LastRows(found["logits"], tensor), tensor.Floats(), kHiddenTolerance));
    } else if (found[name].dtype == "I32") {
      EXPECT_EQ(found[name].shape, tensor.shape);
      EXPECT_EQ(found[name].Ints(), tensor.Ints());
    } else {
      EXPECT_EQ(found[name].shape, tensor.shape);
      EXPECT_TRUE(AllNear(found[name].Floats(), tensor.Floats(), ToleranceOfTensor(name)));
    }
  }
}

class TraceOfRecording : public testing::TestWithParam<RecordedCase> {};

TEST_P(TraceOfRecording, IsWithinTheTolerances) {
  for (const Words& options : {Words{}, Words{"--attention", "standard", "--threads", "1"},
                               Words{"--chunk", "5", "--threads", "3"}}) {
    SCOPED_TRACE(testing::PrintToString(options));
    const TempDir folder;
    const std::string out = folder.File("trace.safetensors");
    Words words = TraceArguments(GetParam(), folder, out);
    words.insert(words.end(), options.begin(), options.end());
    const Outcome o = RunCommand(words);
    ASSERT_EQ(o.exit_code, 0) << o;
    EXPECT_EQ(o.out, "");
    ExpectEqualToRecording(GoldenFile::FromPath(out), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TraceOfRecording, testing::ValuesIn(RecordedCases()), [](const auto& param) {
  std::string name = param.param.model + "_" + param.param.json["name"].template get<std::string>();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// One with a picture or a clip, where there is one.
RecordedCase FirstCase() {
  const std::vector<RecordedCase> cases = RecordedCases();
  for (const RecordedCase& c : cases)
    if (!c.json["images"].empty() || !c.json["videos"].empty()) return c;
  return cases.at(0);
}

TEST(Trace, EveryInstructionSetIsWithinTheTolerances) {
  const RecordedCase c = FirstCase();
  const nlohmann::json machine = OutJson(RunCommand({"probe", "--json"}));
  for (const std::string isa : machine["isas"]) {
    SCOPED_TRACE(isa);
    const TempDir folder;
    const std::string out = folder.File("trace.safetensors");
    Words words = TraceArguments(c, folder, out);
    words.insert(words.end(), {"--isa", isa});
    const Outcome o = RunCommand(words);
    ASSERT_EQ(o.exit_code, 0) << o;
    const GoldenFile found = GoldenFile::FromPath(out);
    EXPECT_EQ(found.metadata().at("isa"), isa);
    ExpectEqualToRecording(found, c);
  }
}

TEST(Trace, MetadataNameWhatRan) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  Words words = TraceArguments(FirstCase(), folder, out);
  words.insert(words.end(), {"--threads", "2", "--tile", "32"});
  ASSERT_EQ(RunCommand(words).exit_code, 0);
  const auto metadata = GoldenFile::FromPath(out).metadata();
  EXPECT_EQ(metadata.at("threads"), "2");
  EXPECT_EQ(metadata.at("tile"), "32");
  EXPECT_EQ(metadata.at("kv_type"), "f32");
  EXPECT_THAT(metadata.at("attention"), HasSubstr("tiled"));
  for (const char* key : {"isa", "version", "tile_reason"}) EXPECT_NE(metadata.at(key), "") << key;
}

TEST(Trace, OnlyKeepsWhatIsNamed) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  Words words = TraceArguments(FirstCase(), folder, out);
  words.insert(words.end(), {"--only", "logits,text.layer.0*,no.such.tensor"});
  const Outcome o = RunCommand(words);
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, HasSubstr("no.such.tensor"));
  const GoldenFile file = GoldenFile::FromPath(out);
  Words names;
  for (const auto& [name, tensor] : file.tensors()) names.push_back(name);
  EXPECT_THAT(names, testing::IsSupersetOf({"logits", "text.layer.0", "text.layer.0.attn"}));
  EXPECT_THAT(names, testing::Each(testing::AnyOf(HasSubstr("logits"), HasSubstr("text.layer.0"))));
}

TEST(Trace, OfNoTensorAtAllIsExitCode1) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  const Outcome o = RunCommand({"trace", "-m", TinyModel(), "-p", "Hello", "--only", "logit", "--out", out});
  EXPECT_EQ(o.exit_code, 1) << o;
  EXPECT_THAT(o.err, HasSubstr("--only logit: names no tensor"));
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(Trace, RefusesTheFilesOfTheModel) {
  const TempDir folder;
  for (const auto& entry : std::filesystem::directory_iterator(TinyModel()))
    folder.Write(entry.path().filename().string(), ReadFile(entry.path()));
  const std::string gguf = folder.Write("one/m.gguf", ReadFile(DataPath("gguf/models/tiny-q-q4_0.gguf")));
  for (const auto& [model, file] : {std::pair{folder.path().string(), folder.File("config.json")},
                                    {folder.path().string(), folder.File("./model.safetensors")},
                                    {gguf, gguf}}) {
    const std::string before = ReadFile(file);
    const Outcome o = RunCommand({"trace", "-m", model, "-p", "x", "--out", file});
    EXPECT_EQ(o.exit_code, 2) << o;
    EXPECT_THAT(o.err, HasSubstr("is a file of the model"));
    EXPECT_EQ(CountLines(o.err), 1u) << o;
    EXPECT_EQ(ReadFile(file), before);
  }
}

TEST(Trace, OfATextUsesTheChatTemplate) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors");
  const Outcome o = RunCommand(
      {"trace", "-m", TinyModel(), "-p", "Hello", "--image", TinyPicture(), "--generate", "3", "--out", out});
  ASSERT_EQ(o.exit_code, 0) << o;
  const GoldenFile file = GoldenFile::FromPath(out);
  const nlohmann::json run =
      OutJson(RunCommand({"run", "-m", TinyModel(), "-p", "Hello", "--image", TinyPicture(), "-n", "3",
                          "--temp", "0", "--ignore-eos", "--json"}));
  EXPECT_EQ(file["input_ids"].size(), run["prompt_tokens"]);
  EXPECT_EQ(file["greedy_tokens"].Ints(), run["ids"].get<std::vector<int32_t>>());
}

TEST(Trace, TheLastNewTokenNeedsNoRoomInTheContext) {
  const TempDir folder;
  const std::string out = folder.File("t.safetensors"), ids = folder.Write("ids.json", "[1, 2, 3]");
  const auto trace = [&](const char* context) {
    return RunCommand({"trace", "-m", DataPath("models/tiny-b"), "--ids", ids, "--generate", "4", "--ctx",
                       context, "--only", "greedy_tokens", "--out", out});
  };
  EXPECT_EQ(trace("5").exit_code, 1);
  const Outcome o = trace("6");
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(GoldenFile::FromPath(out)["greedy_tokens"].size(), 4u);
}

TEST(Trace, ThatCannotFinishLeavesNothing) {
  const TempDir folder;
  Words words = TraceArguments(FirstCase(), folder, folder.File("out/t.safetensors"));
  EXPECT_EQ(RunCommand(words).exit_code, 3);
  words = TraceArguments(FirstCase(), folder, folder.File("t.safetensors"));
  words.insert(words.end(), {"--ctx", std::to_string(FirstCase().json["input_ids"].size() + 1)});
  const Outcome o = RunCommand(words);
  EXPECT_EQ(o.exit_code, 1) << o;
  EXPECT_THAT(o.err, testing::AllOf(HasSubstr("need a context of"), HasSubstr("--ctx")));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().filename(), "ids.json");
}

}  // namespace
}  // namespace qwen3vl::test
