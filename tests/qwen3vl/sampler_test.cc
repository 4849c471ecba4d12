// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "support/expect_error.h"

namespace qwen3vl {
namespace {

std::map<int32_t, size_t> Draws(const SamplingOptions& options, const std::vector<float>& logits, size_t n) {
  std::map<int32_t, size_t> counts;
  for (size_t i = 0; i < n; ++i) {
    SamplingOptions o = options;
    o.seed = i;
    ++counts[Sampler(o, {}).Next(logits)];
  }
  return counts;
}

TEST(Sampler, GreedyTakesTheLowestOfEquals) {
  Sampler sampler({.temperature = 0}, {});
  EXPECT_EQ(sampler.Next(std::vector<float>{1, 3, 3, 2}), 1);
}

TEST(Sampler, DrawsInProportionToTheSoftmax) {
  // Probabilities 0.5, 0.25, 0.25. With 4000 draws the standard deviation of a share is below 0.008; five of
  // them are allowed.
  const std::vector<float> logits{std::log(2.0f), 0, 0};
  const auto counts = Draws({.temperature = 1}, logits, 4000);
  EXPECT_NEAR(static_cast<double>(counts.at(0)) / 4000, 0.5, 0.04);
  EXPECT_NEAR(static_cast<double>(counts.at(1)) / 4000, 0.25, 0.04);
  EXPECT_NEAR(static_cast<double>(counts.at(2)) / 4000, 0.25, 0.04);
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  const std::vector<float> logits{std::log(8.0f), std::log(4.0f), std::log(2.0f), 0.0f,
                                  0.0f};  // 0.5 0.25 0.125 0.0625 0.0625
  EXPECT_EQ(Draws({.temperature = 1, .top_k = 2}, logits, 500).size(), 2u);
  EXPECT_EQ(Draws({.temperature = 1, .top_p = 0.5f}, logits, 500).size(), 1u);
  EXPECT_EQ(Draws({.temperature = 1, .top_p = 0.6f}, logits, 500).size(), 2u);
  EXPECT_EQ(Draws({.temperature = 1, .min_p = 0.2f}, logits, 500).size(), 3u);
}

TEST(Sampler, SameSeedSameAnswer) {
  const std::vector<float> logits{0, 0.1f, 0.2f, 0.3f};
  Sampler a({.temperature = 1, .seed = 7}, {}), b({.temperature = 1, .seed = 7}, {});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(a.Next(logits), b.Next(logits));
}

TEST(Sampler, RepetitionPenaltyCountsThePromptPresencePenaltyDoesNot) {
  const std::vector<int32_t> prompt{0};
  const std::vector<float> logits{2.0f, 1.5f};
  EXPECT_EQ(Sampler({.repetition_penalty = 2.0f}, prompt).Next(logits), 1);  // 2 / 2 < 1.5
  Sampler presence({.presence_penalty = 1.0f}, prompt);
  EXPECT_EQ(presence.Next(logits), 0);
  EXPECT_EQ(presence.Next(logits), 1);  // 2 - 1 < 1.5 once token 0 was generated
}

TEST(Sampler, NegativeLogitsAreMultipliedByTheRepetitionPenalty) {
  const std::vector<int32_t> prompt{0};
  EXPECT_EQ(Sampler({.repetition_penalty = 2.0f}, prompt).Next(std::vector<float>{-1.0f, -1.5f}), 1);
}

TEST(Sampler, TakesTheSettingsOfTheFile) {
  const SamplingDefaults file{.do_sample = true,
                              .temperature = 0.5f,
                              .top_p = 0.6f,
                              .top_k = 7,
                              .min_p = 0.1f,
                              .repetition_penalty = 1.25f};
  const SamplingOptions o = ToSamplingOptions(file);
  EXPECT_EQ(o.temperature, 0.5f);
  EXPECT_EQ(o.top_p, 0.6f);
  EXPECT_EQ(o.top_k, 7u);
  EXPECT_EQ(o.min_p, 0.1f);
  EXPECT_EQ(o.repetition_penalty, 1.25f);
  EXPECT_EQ(ToSamplingOptions({.do_sample = false, .temperature = 0.5f}).temperature, 0);
}

TEST(Sampler, AFileWithATopPOfZeroIsGreedy) {
  const SamplingOptions o = ToSamplingOptions({.do_sample = true, .top_p = 0});
  EXPECT_EQ(o.temperature, 0);
  EXPECT_NO_THROW(CheckSampling(o));
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  const float inf = INFINITY;
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature}, {});
    for (const std::vector<float>& bad :
         {std::vector<float>{1, NAN, 3}, {NAN, NAN, NAN}, {1, inf, 3}, {-inf, -inf, -inf}})
      EXPECT_ERROR(ErrorCode::kCorruptFile, "logits", sampler.Next(bad));
    EXPECT_EQ(sampler.Next(std::vector<float>{-inf, 2, -inf}), 1);  // tokens ruled out
  }
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  for (const SamplingOptions& bad : {SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = NAN},
                                     SamplingOptions{.top_p = 0}, SamplingOptions{.top_p = 1.5f},
                                     SamplingOptions{.min_p = 2}, SamplingOptions{.repetition_penalty = 0}})
    EXPECT_THROW(CheckSampling(bad), Error);
  EXPECT_NO_THROW(CheckSampling({}));
}

}  // namespace
}  // namespace qwen3vl
