// SPDX-License-Identifier: Apache-2.0
// `qwen3vl tokenize` on the recorded texts: the ids are those of the Hugging Face tokenizer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

std::string Tokenizer() { return DataPath("gguf/tokenizer"); }

TEST(Tokenize, GivesTheRecordedIdsAndGoesBack) {
  const nlohmann::json cases = ReadJsonLines("gguf/tokenize.jsonl");
  ASSERT_GT(cases.size(), 10u);
  size_t checked = 0;
  for (const nlohmann::json& c : cases) {
    const std::string text = c["text"];
    if (checked == 12) break;  // the tokenizer's own tests walk all of them
    ++checked;
    const Outcome o = RunCommand({"tokenize", "-m", Tokenizer(), "--json"}, text);
    ASSERT_EQ(o.exit_code, 0) << o;
    const nlohmann::json result = OutJson(o);
    EXPECT_EQ(result["ids"], c["ids"]) << text;
    EXPECT_EQ(result["pieces"].size(), result["ids"].size());

    const Outcome back = RunCommand({"tokenize", "-m", Tokenizer(), "--decode", "--json"}, c["ids"].dump());
    ASSERT_EQ(back.exit_code, 0) << back;
    EXPECT_EQ(OutJson(back)["text"], text);
  }
}

TEST(Tokenize, TextFileAndStdinAgree) {
  const TempDir folder;
  const std::string file = folder.Write("text.txt", "Hello, world\n");
  const Outcome from_file = RunCommand({"tokenize", "-m", TinyModel(), "--file", file, "--json"});
  const Outcome from_stdin = RunCommand({"tokenize", "-m", TinyModel(), "--json"}, "Hello, world\n");
  const Outcome from_text = RunCommand({"tokenize", "-m", TinyModel(), "Hello, world\n", "--json"});
  ASSERT_EQ(from_file.exit_code, 0) << from_file;
  EXPECT_EQ(from_file.out, from_stdin.out);
  EXPECT_EQ(from_file.out, from_text.out);
}

TEST(Tokenize, PlainOutputIsOneLineAToken) {
  const Outcome json = RunCommand({"tokenize", "-m", TinyModel(), "Hello, world", "--json"});
  const Outcome plain = RunCommand({"tokenize", "-m", TinyModel(), "Hello, world"});
  ASSERT_EQ(plain.exit_code, 0) << plain;
  EXPECT_EQ(CountLines(plain.out), OutJson(json)["ids"].size());
}

TEST(Tokenize, DecodesIdsFromTheCommandLine) {
  const nlohmann::json ids = OutJson(RunCommand({"tokenize", "-m", TinyModel(), "Hello", "--json"}))["ids"];
  std::string list;
  for (const auto& id : ids) list += (list.empty() ? "" : ", ") + id.dump();
  const Outcome o = RunCommand({"tokenize", "-m", TinyModel(), "--decode", list});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, "Hello\n");
}

TEST(Tokenize, RefusesIdsThatNameNoToken) {
  for (const char* ids : {"999999", "9 -1"}) {
    const Outcome typed = RunCommand({"tokenize", "-m", TinyModel(), "--decode", ids});
    EXPECT_EQ(typed.exit_code, 2) << typed;
    EXPECT_EQ(typed.out, "");
  }
  const Outcome piped = RunCommand({"tokenize", "-m", TinyModel(), "--decode"}, "[9, 999999]");
  EXPECT_EQ(piped.exit_code, 3) << piped;
  EXPECT_THAT(piped.err, testing::HasSubstr("token id 999999 at index 1"));
}

TEST(Tokenize, RefusesWordsWhereIdsBelong) {
  const Outcome typed = RunCommand({"tokenize", "-m", TinyModel(), "--decode", "1 two 3"});
  EXPECT_EQ(typed.exit_code, 2) << typed;
  EXPECT_THAT(typed.err, testing::HasSubstr("two"));
  const Outcome piped = RunCommand({"tokenize", "-m", TinyModel(), "--decode"}, "[1, \"two\"]");
  EXPECT_EQ(piped.exit_code, 3) << piped;
  EXPECT_EQ(CountLines(piped.err), 1u);
}

}  // namespace
}  // namespace qwen3vl::test
