// SPDX-License-Identifier: Apache-2.0
// Malformed tokenizer files: each is refused with the file and the key, none crashes or hangs.
#include "qwen3vl/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "qwen3vl/error.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/tokenizer.h"
#include "qwen3vl/tokenizer_json.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using testing::HasSubstr;

using Files = std::vector<std::pair<std::string, std::string>>;  // name, content

struct BadCase {
  const char* name;
  Files files;
  ErrorCode code;
  const char* message;
};

void PrintTo(const BadCase& c, std::ostream* os) { *os << c.name; }

Files VocabFiles(std::string vocab, std::string merges = "#version: 0.2\na b\n",
                 std::string config = R"({"added_tokens_decoder":{}})") {
  return {{"vocab.json", std::move(vocab)},
          {"merges.txt", std::move(merges)},
          {"tokenizer_config.json", std::move(config)}};
}

Files TokenizerJson(const std::string& model, const std::string& rest = "") {
  return {{"tokenizer.json", "{\"model\":{" + model + "}" + rest + "}"}};
}

const std::string kGoodVocab = R"({"a":0,"b":1,"ab":2})";
const std::string kGoodModel = R"("vocab":{"a":0,"b":1,"ab":2},"merges":["a b"])";

std::string Decoder(const std::string& key, const std::string& fields) {
  return "{\"added_tokens_decoder\":{\"" + key + "\":{" + fields + "}}}";
}

const BadCase kBadCases[] = {
    {"EmptyFolder", {}, ErrorCode::kNotFound, "no tokenizer.json, and no vocab.json"},
    {"EmptyFile", {{"tokenizer.json", ""}}, ErrorCode::kCorruptFile, "tokenizer.json"},
    {"NotJson",
     {{"tokenizer.json", "{\"model\": nonsense"}},
     ErrorCode::kCorruptFile,
     "tokenizer.json: not valid JSON at byte"},
    {"Truncated",
     {{"tokenizer.json", R"({"model":{"vocab":{"a":0)"}},
     ErrorCode::kCorruptFile,
     "not valid JSON"},
    {"Unterminated", {{"tokenizer.json", "\"" + std::string(100000, 'x')}}, ErrorCode::kCorruptFile, "..."},
    {"TooDeep", {{"tokenizer.json", std::string(1000000, '[')}}, ErrorCode::kCorruptFile, "64 levels"},
    {"NoVocab", TokenizerJson(R"("merges":[])"), ErrorCode::kCorruptFile, "model/vocab: no tokens"},
    {"VocabIsArray", TokenizerJson(R"("vocab":["a"],"merges":[])"), ErrorCode::kCorruptFile, "no tokens"},
    {"IdIsString", TokenizerJson(R"("vocab":{"a":"0"})"), ErrorCode::kCorruptFile,
     "model/vocab/a: found \"0\", want an integer id"},
    {"IdIsFraction", TokenizerJson(R"("vocab":{"a":0.5})"), ErrorCode::kCorruptFile, "want an integer id"},
    {"IdIsObject", TokenizerJson(R"("vocab":{"a":{}})"), ErrorCode::kCorruptFile, "found an object"},
    {"IdNegative", TokenizerJson(R"("vocab":{"a":-1})"), ErrorCode::kCorruptFile, "id -1, want 0 to"},
    {"IdHuge", TokenizerJson(R"("vocab":{"a":99999999999})"), ErrorCode::kCorruptFile, "id 99999999999"},
    {"IdTwice", TokenizerJson(R"("vocab":{"a":0,"b":0})"), ErrorCode::kCorruptFile,
     "id 0 belongs to two tokens"},
    {"MergeIsNumber", TokenizerJson(R"("vocab":{"a":0},"merges":[7])"), ErrorCode::kCorruptFile,
     "model/merges/0: found 7, want a pair of strings"},
    {"MergeHasThreeParts", TokenizerJson(R"("vocab":{"a":0},"merges":[["a","b","c"]])"),
     ErrorCode::kCorruptFile, "model/merges/0: found 3 parts, want 2"},
    {"MergeHasNoSpace", TokenizerJson(R"("vocab":{"a":0},"merges":["a a","ab"])"), ErrorCode::kCorruptFile,
     "model/merges/1: want two pieces"},
    {"MergeUnknown", TokenizerJson(R"("vocab":{"a":0},"merges":["a a"])"), ErrorCode::kCorruptFile,
     "merge 0 needs \"aa\", which is not in the vocabulary"},
    {"MergeUnknownAndLong",
     TokenizerJson(R"("vocab":{"a":0},"merges":["a )" + std::string(12000, 'x') + "\"]"),
     ErrorCode::kCorruptFile, "xxx...\", which is not in the vocabulary"},
    {"MergeUnknownAndOfTwoLines", TokenizerJson(R"("vocab":{"a":0},"merges":["a b\nc"])"),
     ErrorCode::kCorruptFile, "needs \"b?c\""},
    {"IdTwiceOfLongTokens", TokenizerJson(R"("vocab":{"a":0,")" + std::string(12000, 'x') + R"(":0})"),
     ErrorCode::kCorruptFile, "xxx...\""},
    {"IdIsLongString",
     TokenizerJson(R"("vocab":{")" + std::string(12000, 'x') + R"(":")" + std::string(12000, 'y') + R"("})"),
     ErrorCode::kCorruptFile, "..., want an integer id"},
    {"PathWithoutEnd", TokenizerJson(kGoodModel, R"(,")" + std::string(2000, 'x') + R"(":{"a":[0,0]})"),
     ErrorCode::kCorruptFile, "a path of 2000 bytes, want less"},
    {"OtherModel", TokenizerJson(R"("type":"Unigram",)" + kGoodModel), ErrorCode::kUnsupported,
     "model/type is \"Unigram\", want \"BPE\""},
    {"OtherNormalizer", TokenizerJson(kGoodModel, R"(,"normalizer":{"type":"NFKC"})"),
     ErrorCode::kUnsupported, "normalizer/type is \"NFKC\", want \"NFC\""},
    {"NoNormalizer", TokenizerJson(kGoodModel, R"(,"normalizer":null)"), ErrorCode::kUnsupported,
     "normalizer is null, want an object"},
    {"OtherSplit",
     TokenizerJson(kGoodModel, R"(,"pre_tokenizer":{"pretokenizers":[{"pattern":{"Regex":"\\w+"}}]})"),
     ErrorCode::kUnsupported, "pattern/Regex"},
    {"Dropout", TokenizerJson(R"("dropout":0.1,)" + kGoodModel), ErrorCode::kUnsupported, "model/dropout"},
    {"AddedWithoutContent", TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":3}])"),
     ErrorCode::kCorruptFile, "added_tokens/0/content: missing"},
    {"AddedWithoutId",
     TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":3,"content":"x"},{"content":"y"}])"),
     ErrorCode::kCorruptFile, "added_tokens/1/id: missing, want an integer"},
    {"AddedEmpty", TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":3,"content":""}])"),
     ErrorCode::kCorruptFile, "a text of 0 bytes"},
    {"AddedIdHuge", TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":4000000000,"content":"x"}])"),
     ErrorCode::kCorruptFile, "id 4000000000"},
    {"AddedIdTaken", TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":1,"content":"x"}])"),
     ErrorCode::kCorruptFile, "belongs to \"b\" already"},
    {"AddedStrips", TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":3,"content":"x","lstrip":true}])"),
     ErrorCode::kUnsupported, "added_tokens/0/lstrip: true, want false"},
    {"VocabFileIsArray", VocabFiles("[1,2]"), ErrorCode::kCorruptFile, "vocab.json: no tokens"},
    {"MergesMissing", {{"vocab.json", kGoodVocab}}, ErrorCode::kNotFound, "merges.txt"},
    {"MergesLine", VocabFiles(kGoodVocab, "#version: 0.2\na b\na  b\n"), ErrorCode::kCorruptFile,
     "merges.txt: line 3: want two pieces"},
    {"ConfigNotJson", VocabFiles(kGoodVocab, "a b\n", "{"), ErrorCode::kCorruptFile,
     "tokenizer_config.json: not valid JSON at byte"},
    {"DecoderIsArray", VocabFiles(kGoodVocab, "a b\n", R"({"added_tokens_decoder":[]})"),
     ErrorCode::kCorruptFile, "added_tokens_decoder: want an object"},
    {"DecoderKey", VocabFiles(kGoodVocab, "a b\n", Decoder("x1", R"("content":"x")")),
     ErrorCode::kCorruptFile, "added_tokens_decoder, key \"x1\": want a decimal id"},
    {"DecoderId", VocabFiles(kGoodVocab, "a b\n", Decoder("-3", R"("content":"x")")), ErrorCode::kCorruptFile,
     "id -3"},
};

TokenizerSource Folder(const test::TempDir& folder) {
  TokenizerSource source;
  source.folder = folder.path().string();
  return source;
}

void ExpectRefused(const TokenizerSource& source, ErrorCode code, const std::string& message) {
  try {
    Tokenizer::Load(source);
    ADD_FAILURE() << "loaded; want an error with: " << message;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_THAT(e.what(), HasSubstr(message));
    EXPECT_LT(std::string_view(e.what()).size(), 600u);
  }
}

class BadTokenizerFiles : public testing::TestWithParam<BadCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, BadTokenizerFiles, testing::ValuesIn(kBadCases),
                         [](const auto& c) { return std::string(c.param.name); });

TEST_P(BadTokenizerFiles, AreRefused) {
  const test::TempDir folder;
  for (const auto& [name, content] : GetParam().files) folder.Write(name, content);
  ExpectRefused(Folder(folder), GetParam().code, GetParam().message);
}

TEST(TokenizerFiles, GoodCounterpartsLoad) {
  const Files without_config{{"vocab.json", kGoodVocab}, {"merges.txt", "a b\n"}};
  for (const Files& files :
       {VocabFiles(kGoodVocab, "a b\r\n\n"), TokenizerJson(kGoodModel), without_config}) {
    const test::TempDir folder;
    for (const auto& [name, content] : files) folder.Write(name, content);
    EXPECT_EQ(Tokenizer::Load(Folder(folder)).Encode("abba"), (std::vector<int32_t>{2, 1, 0}));
  }
}

TEST(TokenizerFiles, KeepOnlyWhatIsAskedFor) {
  const std::string text = R"({"model":{"type":"BPE","more":[1,2,{"type":3}],"vocab":{"a":0}},"version":"1",)"
                           R"("added_tokens":[{"id":1,"content":"x","note":"y"},{"note":"z"}]})";
  std::vector<std::string> asked;
  const qwen3vl::TokenizerJson parsed =
      ParseTokenizerJson(text, "f", "model/vocab", "model/merges", [&](std::string_view path) {
        asked.emplace_back(path);
        return path == "model/type";
      });
  EXPECT_THAT(parsed.scalars, testing::ElementsAre(testing::Pair("model/type", "BPE")));
  EXPECT_THAT(asked, testing::Contains("model/more/2/type"));
  EXPECT_EQ(parsed.n_added, 2u);
  EXPECT_TRUE(ParseTokenizerJson(text, "f", "model/vocab", "model/merges").scalars.empty());
}

TEST(TokenizerFiles, AreRefusedOver64MiB) {
  for (const char* name : {"tokenizer.json", "vocab.json"}) {
    const test::TempDir folder;
    std::filesystem::resize_file(folder.Write(name, kGoodVocab), (uintmax_t{64} << 20) + 1);
    ExpectRefused(Folder(folder), ErrorCode::kCorruptFile, "67108865 bytes, want at most 64 MiB");
  }
}

TEST(TokenizerFiles, ConfigAddsTokensThatTokenizerJsonLacks) {
  const test::TempDir folder;
  folder.Write(
      "tokenizer.json",
      TokenizerJson(kGoodModel, R"(,"added_tokens":[{"id":3,"content":"<x>","special":true}])")[0].second);
  folder.Write("tokenizer_config.json", R"({"added_tokens_decoder":{
      "3":{"content":"<y>","special":false}, "7":{"content":"<x><x>","special":false}}})");
  const Tokenizer tokenizer = Tokenizer::Load(Folder(folder));
  EXPECT_EQ(tokenizer.Encode("a<x><x><x>b<y>"), (std::vector<int32_t>{0, 7, 3, 1}));
  EXPECT_TRUE(tokenizer.IsSpecial(3));
  EXPECT_EQ(tokenizer.size(), 8u);
}

TEST(TokenizerFiles, RefusesContradictoryGgufMetadata) {
  TokenizerSource source;
  ExpectRefused(source, ErrorCode::kNotFound, "no tokenizer");
  source.file = "m.gguf";
  source.tokens = {"a", "b", "ab"};
  ExpectRefused(source, ErrorCode::kCorruptFile, "m.gguf: tokenizer.ggml.token_type: 0 entries, want 3");
  source.token_types = {1, 1, 1};
  source.merges = {"a b", "ab"};
  ExpectRefused(source, ErrorCode::kCorruptFile, "m.gguf: tokenizer.ggml.merges[1]");
  source.merges = {"a b", "b c"};
  ExpectRefused(source, ErrorCode::kCorruptFile, "m.gguf: tokenizer.ggml: merge 1 needs \"c\"");
  source.merges = {"a b"};
  source.token_types = {1, 1, 3};
  ExpectRefused(source, ErrorCode::kCorruptFile, "merge 0 needs \"ab\"");
  source.token_types = {1, 1, 1};
  EXPECT_EQ(Tokenizer::Load(source).Encode("ab"), std::vector<int32_t>{2});
}

// Longer than the system takes, so that it can't say what is there.
TEST(TextCodec, RefusesAPathThatCannotBeExamined) {
  EXPECT_ERROR(ErrorCode::kNotFound, "cannot be read", TextCodec::Load(std::string(5000, 'x')));
}

}  // namespace
}  // namespace qwen3vl
