// SPDX-License-Identifier: Apache-2.0
// --repack: which weights are copied when a model is loaded, and who is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "process.h"
#include "support/golden.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

constexpr const char* kCopied = "copied to be read faster";

Outcome Trace(const std::string& file, const Words& more) {
  const TempDir folder;
  Words words{"trace",
              "-m",
              DataPath("gguf/models/" + file),
              "--ids",
              folder.Write("ids.json", "[1, 2, 3]"),
              "--out",
              folder.File("out.safetensors")};
  words.insert(words.end(), more.begin(), more.end());
  return RunCommand(words);
}

// AVX2 and later.
bool HasCopies() {
  const std::string isa = OutJson(RunCommand({"probe", "--json"}))["isa"];
  return isa != "baseline" && isa != "sse4";
}

TEST(Repack, SaysWhatWasCopied) {
  const Outcome on = Trace("tiny-q-q4_k_m.gguf", {"--repack", "on"});
  ASSERT_EQ(on.exit_code, 0) << on;
  EXPECT_EQ(on.err.find(kCopied) != std::string::npos, HasCopies()) << on;
  for (const Words& without : {Words{"--repack", "off"}, Words{"--exact"}, Words{"--isa", "baseline"}}) {
    const Outcome off = Trace("tiny-q-q4_k_m.gguf", without);
    ASSERT_EQ(off.exit_code, 0) << off;
    EXPECT_THAT(off.err, Not(HasSubstr(kCopied))) << off;
  }
  EXPECT_THAT(Trace("tiny-b-bf16.gguf", {"--repack", "on"}).err, Not(HasSubstr(kCopied)));
}

TEST(Repack, WantsOnOffOrAuto) {
  const Outcome o = Trace("tiny-q-q4_k_m.gguf", {"--repack", "yes"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("'yes', want on, off or auto"));
}

// The command of a row says how the model was loaded, so that `auto` can be repeated on a fuller machine.
TEST(Repack, StandsInTheRowsOfAModel) {
  const auto command = [](const Words& more) {
    Words words{"bench",     "model", "-m",         DataPath("gguf/models/tiny-q-q4_k_m.gguf"),
                "--prompt",  "4",     "--generate", "0",
                "--samples", "1",     "--no-peaks", "--format",
                "json"};
    words.insert(words.end(), more.begin(), more.end());
    const nlohmann::json report = OutJson(RunCommand(words));
    return report["rows"].at(0)["command"].get<std::string>();
  };
  EXPECT_THAT(command({"--repack", "on"}), HasSubstr(HasCopies() ? " --repack on " : " --repack off "));
  EXPECT_THAT(command({"--repack", "off"}), HasSubstr(" --repack off "));
}

// The paths of the rows of a product in Q4_K.
std::set<std::string> Paths(const Words& more) {
  Words words{"bench",     "layer",    "--preset",   "qwen3vl-2b.text", "--kind",
              "linear.kv", "--tokens", "1,8",        "--dtype",         "q4_K",
              "--samples", "1",        "--no-peaks", "--format",        "json"};
  words.insert(words.end(), more.begin(), more.end());
  std::set<std::string> paths;
  const nlohmann::json report = OutJson(RunCommand(words));
  for (const auto& row : report["rows"]) paths.insert(row["path"]);
  return paths;
}

TEST(Repack, IsMeasuredBesideRowsAsInAFile) {
  using Set = std::set<std::string>;
  const Set both = HasCopies() ? Set{"fast", "interleaved"} : Set{"fast"};
  EXPECT_EQ(Paths({}), both);
  EXPECT_EQ(Paths({"--repack", "off"}), Set{"fast"});
  EXPECT_EQ(Paths({"--repack", "on"}), HasCopies() ? Set{"interleaved"} : Set{"fast"});
  EXPECT_EQ(Paths({"--exact"}), Set{"exact"});
}

}  // namespace
}  // namespace qwen3vl::test
