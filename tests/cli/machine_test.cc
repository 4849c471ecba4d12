// SPDX-License-Identifier: Apache-2.0
// `probe` and `inspect`: facts on the machine and on a model's files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/golden.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

TEST(Probe, JsonHoldsTheMachineAndTheTileWithItsReason) {
  const Outcome o = RunCommand({"probe", "--json"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.err, "");
  const nlohmann::json report = OutJson(o);
  EXPECT_GE(report["default_threads"], 1);
  EXPECT_GT(report["memory_total_bytes"], 0);
  EXPECT_THAT(report["isas"].get<std::vector<std::string>>(),
              testing::Contains(report["isa"].get<std::string>()));
  EXPECT_FALSE(report["tile_reason"].get<std::string>().empty());
  EXPECT_FALSE(report["gpu_status"].get<std::string>().empty());
  EXPECT_FALSE(report["gpu_code"].get<std::string>().empty());
}

TEST(Probe, TakesVerbose) { EXPECT_EQ(RunCommand({"probe", "--verbose"}).exit_code, 0); }

TEST(Probe, ShowsTheInstructionSetThatWasAskedFor) {
  const nlohmann::json report = OutJson(RunCommand({"probe", "--json"}));
  for (const std::string isa : report["isas"])
    EXPECT_EQ(OutJson(RunCommand({"probe", "--json", "--isa", isa}))["isa"], isa);
}

TEST(Inspect, CountsTensorsByTypeInBothFileFormats) {
  for (const char* path : {"models/tiny-moe", "gguf/models/tiny-moe-bf16.gguf"}) {
    const std::string model = DataPath(path);
    const Outcome o = RunCommand({"inspect", model, "--json", "--tensors"});
    ASSERT_EQ(o.exit_code, 0) << o;
    const nlohmann::json report = OutJson(o);
    EXPECT_EQ(report["n_layers"], 2) << model;
    EXPECT_EQ(report["n_experts"], 8) << model;
    size_t count = 0, bytes = 0;
    for (const auto& [format, sum] : report["types"].items())
      count += sum["tensors"].get<size_t>(), bytes += sum["bytes"].get<size_t>();
    EXPECT_EQ(count, report["tensors"].size());
    EXPECT_EQ(bytes, report["memory"]["weights_bytes"]);
  }
}

TEST(Inspect, MemoryFollowsContextCacheFormatAndPicture) {
  const auto memory = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"inspect", DataPath("models/tiny-b"), "--json"});
    const Outcome o = RunCommand(options);
    EXPECT_EQ(o.exit_code, 0) << o;
    return OutJson(o)["memory"];
  };
  const auto small = memory({"--ctx", "1024", "--kv-type", "f16", "--image-size", "256x256"});
  const auto longer = memory({"--ctx", "2048", "--kv-type", "f16", "--image-size", "256x256"});
  const auto wider = memory({"--ctx", "1024", "--kv-type", "f32", "--image-size", "1024x1024"});
  const auto packed = memory({"--ctx", "1024", "--kv-type", "q8_0", "--image-size", "256x256"});
  // 2 layers, keys and values, 8 heads of 128, 2 bytes each
  EXPECT_GE(small["kv_cache_bytes"], 1024 * 2 * 2 * 8 * 128 * 2);
  EXPECT_LE(small["kv_cache_bytes"], 1024 * 2 * 2 * 8 * 128 * 2 * 11 / 10);
  EXPECT_GT(longer["kv_cache_bytes"], small["kv_cache_bytes"]);
  EXPECT_GT(wider["kv_cache_bytes"], small["kv_cache_bytes"]);
  EXPECT_LT(packed["kv_cache_bytes"], small["kv_cache_bytes"]);
  EXPECT_GT(wider["image_stage_bytes"], small["image_stage_bytes"]);
}

TEST(Inspect, TextFormNamesWhatMatters) {
  const Outcome o = RunCommand({"inspect", DataPath("models/tiny-b"), "--tensors"});
  ASSERT_EQ(o.exit_code, 0) << o;
  for (const char* word : {"bf16", "keys and values", "together", "tokenizer", "lm_head.weight"})
    EXPECT_THAT(o.out, HasSubstr(word));
}

TEST(Inspect, SaysContextAndTokensOfThePictureAndWhatDoesNotFit) {
  const auto inspect = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"inspect", TinyModel()});
    const Outcome o = RunCommand(options);
    EXPECT_EQ(o.exit_code, 0) << o;
    return o.out;
  };
  EXPECT_THAT(inspect({"--max-image-tokens", "4096"}),
              testing::AllOf(HasSubstr("keys and values, 8192 tokens"),
                             HasSubstr("picture of 1024x1024, 1024 tokens")));
  // Shrunk to half the context, as run shrinks it.
  EXPECT_THAT(inspect({"--ctx", "72"}), HasSubstr("picture of 1024x1024, 36 tokens"));
  EXPECT_THAT(inspect({"--image-size", "4032x3024", "--max-image-tokens", "16384"}),
              HasSubstr("11844 tokens: more than the context holds"));
}

TEST(Inspect, ContextBeyondTheModelIsBadUsage) {
  const Outcome o = RunCommand({"inspect", DataPath("models/tiny-b"), "--ctx", "100000000"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_EQ(CountLines(o.err), 1u);
}

}  // namespace
}  // namespace qwen3vl::test
