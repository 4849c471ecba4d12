// SPDX-License-Identifier: Apache-2.0
// The helpers that every other test trusts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "support/golden.h"
#include "support/near.h"
#include "support/seeded.h"
#include "support/temp_dir.h"

namespace qwen3vl::test {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Seeded, GivesTheRecordedFirstValues) {
  const nlohmann::json vectors = ReadJson("modules/attention.json").at("generator_test_vectors");
  ASSERT_EQ(vectors.size(), 4u);
  for (const auto& vector : vectors) {
    const std::vector<float> wanted = vector.at("first");
    EXPECT_TRUE(AllNear(Seeded(vector.at("seed"), wanted.size(), vector.at("amp")), wanted, 0.0));
  }
}

TEST(Seeded, RegeneratesTheStoredAttentionInputs) {
  const GoldenFile file("modules/attention.safetensors");
  const nlohmann::json cases = ReadJson("modules/attention.json").at("cases");
  size_t n_stored = 0;
  for (const auto& c : cases) {
    const std::string id = c.at("id");
    if (!file.Has(id + ".q")) continue;
    ++n_stored;
    const std::vector<float> q = file[id + ".q"].Floats();
    EXPECT_TRUE(AllNear(Seeded(c.at("seed"), q.size(), c.at("q_amp")), q, 0.0)) << id;
  }
  EXPECT_GE(n_stored, 2u);
}

TEST(SeededNormal, HasMeanZeroAndTheGivenDeviation) {
  const std::vector<float> x = SeededNormal(7, 40000, 2.0f);
  double sum = 0.0, squares = 0.0;
  for (const float v : x) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const double n = static_cast<double>(x.size());
  EXPECT_NEAR(sum / n, 0.0, 0.05);  // five standard errors of the mean: 5 * 2 / sqrt(40000)
  EXPECT_NEAR(std::sqrt(squares / n), 2.0, 0.05);
}

TEST(AllNear, NamesTheWorstElement) {
  const std::vector<float> wanted = {1, 2, 3, 4}, found = {1, 2.5f, 7, 4};
  const testing::AssertionResult result = AllNear(found, wanted, /*cols=*/2, 0.1);
  EXPECT_FALSE(result);
  EXPECT_THAT(result.message(), HasSubstr("2 of 4 differ"));
  EXPECT_THAT(result.message(), HasSubstr("worst at [1, 0]: found 7, wanted 3, difference 4"));
}

TEST(AllNear, RefusesNanAndUnequalInfinities) {
  const std::vector<float> nan = {kNan}, inf = {kInf}, negative = {-kInf}, one = {1};
  EXPECT_FALSE(AllNear(nan, nan, 1e30));
  EXPECT_FALSE(AllNear(one, nan, 1e30));
  EXPECT_FALSE(AllNear(inf, one, 1e30));
  EXPECT_FALSE(AllNear(inf, negative, 1e30));
  EXPECT_TRUE(AllNear(inf, inf, 0.0));
}

TEST(AllNear, RefusesADifferentCount) {
  EXPECT_FALSE(AllNear(std::vector<float>{1}, std::vector<float>{1, 1}, 1.0));
}

TEST(RelativeError, IsTheQuotientOfNorms) {
  EXPECT_DOUBLE_EQ(RelativeError(std::vector<float>{3, 4}, std::vector<float>{3, 0}), 4.0 / 3.0);
  EXPECT_DOUBLE_EQ(RelativeError(std::vector<float>{0, 2}, std::vector<float>{0, 0}), 2.0);
}

TEST(GoldenFile, ReadsWhatIsThereAndNamesWhatIsNot) {
  const GoldenFile file("cases/tiny-moe/text_20.safetensors");
  EXPECT_EQ(file["input_ids"].shape, std::vector<size_t>{20});
  EXPECT_EQ(file["logits"].shape, (std::vector<size_t>{20, 1024}));
  const nlohmann::json cases = ReadJson("cases/tiny-moe/cases.json").at("cases");
  for (const auto& c : cases)
    if (c.at("name") == "text_20") {
      EXPECT_EQ(file["input_ids"].Ints(), c.at("input_ids").get<std::vector<int32_t>>());
    }
  try {
    file["no_such_tensor"];
    FAIL() << "a missing tensor was found";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("no tensor no_such_tensor; there are: greedy_step_index"));
  }
}

TEST(GoldenFile, RefusesATruncatedFile) {
  const TempDir dir;
  const std::string whole = ReadFile(DataPath("cases/tiny-moe/text_1.safetensors"));
  EXPECT_THROW(GoldenFile::FromPath(dir.Write("cut", whole.substr(0, whole.size() - 1))), std::runtime_error);
  EXPECT_THROW(GoldenFile::FromPath(dir.Write("short", "1234")), std::runtime_error);
}

TEST(TempDir, RemovesEverything) {
  std::filesystem::path path;
  {
    const TempDir dir;
    path = dir.path();
    EXPECT_EQ(ReadFile(dir.Write("a/b/c.txt", "text")), "text");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace qwen3vl::test
