// SPDX-License-Identifier: Apache-2.0
// Answers with guessed tokens: the same as without, token by token, and sessions go on the same way.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "attention/fault.h"
#include "qwen3vl/model.h"
#include "qwen3vl/qwen3vl.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace qwen3vl {
namespace {

// A prompt that says the same thing several times, so that there is something to guess from.
std::vector<int32_t> Repetitive(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(20 + i % 11));
  return ids;
}

GenerateOptions Options(size_t tokens, size_t draft_tokens) {
  return {
      .max_tokens = tokens, .sampling = SamplingOptions{}, .draft_tokens = draft_tokens, .ignore_end = true};
}

struct Counts {
  size_t drafted = 0, accepted = 0;
};

// The same two turns with and without guesses.
void ExpectTheSameAnswers(const Model& model, const SessionOptions& options, const SamplingOptions& sampling,
                          Counts& counts) {
  Session with(model, options), without(model, options);
  std::vector<int32_t> ids = Repetitive(40);
  for (int turn = 0; turn < 2; ++turn) {
    GenerateOptions none = Options(150, 0), some = Options(150, 3);
    none.sampling = some.sampling = sampling;
    const Reply wanted = without.Complete(ids, {}, {}, none), found = with.Complete(ids, {}, {}, some);
    EXPECT_EQ(found.ids, wanted.ids);
    EXPECT_EQ(found.reused_tokens, wanted.reused_tokens);
    EXPECT_EQ(found.finish, wanted.finish);
    EXPECT_EQ(with.length(), without.length());
    EXPECT_EQ(wanted.drafted_tokens, 0u);
    EXPECT_LE(found.accepted_tokens, found.drafted_tokens);
    counts.drafted += found.drafted_tokens;
    counts.accepted += found.accepted_tokens;
    // These may say placeholders of pictures, which no prompt may without pictures.
    const SpecialIds& special = model.impl()->files.config.ids;
    const auto end = std::ranges::find_if(
        wanted.ids, [&](int32_t id) { return id == special.image_pad || id == special.video_pad; });
    ids.insert(ids.end(), wanted.ids.begin(), end);
    ids.insert(ids.end(), {5, 6, 7});
  }
}

class DraftAnswer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, DraftAnswer, testing::Values("tiny-moe", "tiny-b", "demo"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(DraftAnswer, IsTheSameWithAndWithoutGuesses) {
  // Mixture of experts in floats; 32 heads on 8 in floats; trained, in Q4_K and Q6_K.
  const Model model = Model::Load(GetParam() == "demo" ? QWEN3VL_DEMO_MODEL "/demo-q4_k_m.gguf"
                                                       : test::DataPath("models/" + GetParam()));
  Counts counts;
  for (const KvType kv_type : {KvType::kF32, KvType::kF16, KvType::kQ8_0})
    for (const size_t threads : {1, 2, 3})
      for (const SamplingOptions& sampling :
           {SamplingOptions{}, SamplingOptions{.temperature = 0.7f, .top_k = 5, .seed = 3},
            SamplingOptions{.repetition_penalty = 1.02f}}) {
        SCOPED_TRACE(testing::Message()
                     << static_cast<int>(kv_type) << ", " << threads << " threads, temperature "
                     << sampling.temperature << ", penalty " << sampling.repetition_penalty);
        ExpectTheSameAnswers(model, {.threads = threads, .context = 512, .kv_type = kv_type}, sampling,
                             counts);
      }
  EXPECT_GT(counts.drafted, counts.accepted);
  if (GetParam() == "demo") {  // the others hardly ever repeat themselves
    EXPECT_GT(counts.accepted, 0u);
  }
}

TEST(DraftAnswers, KeepTheLimitsOfTokensAndContext) {
  const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  for (size_t room = 1; room <= 12; ++room) {
    Session limited(model, {.threads = 1, .context = 256});
    EXPECT_EQ(limited.Complete(Repetitive(150), {}, {}, Options(room, 3)).ids.size(), room);
    EXPECT_EQ(limited.length(), 150 + room - 1);
    Session tight(model, {.threads = 1, .context = 150 + room});
    const Reply reply = tight.Complete(Repetitive(150), {}, {}, Options(100, 3));
    EXPECT_EQ(reply.finish, FinishReason::kContextFull);
    EXPECT_EQ(reply.ids.size(), room + 1);  // the last one was chosen but never run
    EXPECT_EQ(tight.length(), 150 + room);
  }
}

TEST(DraftAnswers, StoppedInTheMiddleLeaveNoGuessesBehind) {
  const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  for (size_t stop_after = 1; stop_after < 60; stop_after += 7) {
    size_t decoded = 0;
    SessionOptions options{.threads = 2, .context = 512};
    options.progress = [&](const Progress& at) {
      return at.phase != Phase::kDecode || ++decoded < stop_after;
    };
    Session session(model, options);
    const Reply reply = session.Complete(Repetitive(100), {}, {}, Options(100, 3));
    EXPECT_EQ(reply.finish, FinishReason::kCancelled);
    EXPECT_EQ(reply.ids.size(), stop_after);
    EXPECT_LE(session.length(), 100 + stop_after);
    decoded = 0;
    stop_after += 1000;
    const Reply again = session.Complete(Repetitive(100), {}, {}, Options(100, 3));
    stop_after -= 1000;
    Session fresh(model, {.threads = 2, .context = 512});
    EXPECT_EQ(again.ids, fresh.Complete(Repetitive(100), {}, {}, Options(100, 0)).ids);
  }
}

// The first step with guesses meets the fault, which is gone when it is tried again.
TEST(DraftAnswers, WhatOverflowsBesideGuessesIsComputedWithoutThem) {
  const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  std::vector<int32_t> prompt(10);
  std::iota(prompt.begin(), prompt.end(), 20);
  // Two tokens of the answer that stood together before are guessed from.
  GenerateOptions options = Options(6, 3);
  std::vector<std::vector<float>> rows[2];
  for (const bool fault : {false, true}) {
    size_t warnings = 0;
    SessionOptions session_options{.threads = 1, .context = 64};
    session_options.attention = AttentionChoice::kTiled;
    session_options.progress = [&](const Progress& at) {
      if (fault && at.phase == Phase::kDecode && at.done == 2) attention::SetFaults("nan");
      return true;
    };
    session_options.log = [&](LogLevel, std::string_view line) {
      if (line.find("draft tokens") == std::string_view::npos) return;
      attention::SetFaults("");
      ++warnings;
    };
    options.choose = [&, next = size_t{0}](std::span<const float> row) mutable {
      rows[fault].emplace_back(row.begin(), row.end());
      return prompt[next++];
    };
    Session session(model, session_options);
    const Reply reply = session.Complete(prompt, {}, {}, options);
    EXPECT_EQ(reply.ids, std::vector<int32_t>(prompt.begin(), prompt.begin() + 6));
    EXPECT_GT(reply.drafted_tokens, 0u);
    EXPECT_EQ(session.length(), 10u + 5u);
    EXPECT_EQ(warnings, fault ? 1u : 0u);
  }
  EXPECT_EQ(rows[1], rows[0]);
}

TEST(DraftAnswers, AreNotGuessedWhereOneCheckCoversAllTokens) {
  const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  for (const bool on_gpu : {false, true}) {
    SessionOptions options{.threads = 1, .context = 512};
    options.check_finite = !on_gpu;
    if (on_gpu) options.attention_layers = {{1, AttentionChoice::kCuda}};
    Session session(model, options);
    EXPECT_EQ(session.Complete(Repetitive(100), {}, {}, Options(200, 3)).drafted_tokens, 0u);
  }
}

TEST(DraftAnswers, RefuseMoreTokensThanAStepTakes) {
  Session session(Model::Load(test::DataPath("models/tiny-moe")), {.threads = 1, .context = 64});
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "draft tokens: 4, want 0 to 3",
               session.Complete(Repetitive(10), {}, {}, Options(2, 4)));
}

}  // namespace
}  // namespace qwen3vl
