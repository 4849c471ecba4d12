// SPDX-License-Identifier: Apache-2.0
// Sessions: what is re-used between turns, how an answer ends, what a cancellation leaves behind.
#include "qwen3vl/generation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <thread>

#include "attention/fault.h"
#include "qwen3vl/qwen3vl.h"
#include "support/expect_error.h"
#include "support/golden_model.h"
#include "support/near.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using test::GoldenCase;
using test::Greedy;

const Model& TinyMoe() {
  static const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  return model;
}

const SessionOptions kOptions{.threads = 2, .context = 256, .kv_type = KvType::kF32};

// The picture case, its picture, and the tokens the reference goes on with.
struct PictureCase {
  GoldenCase c = test::CaseNamed("tiny-moe", "image_wide");
  std::vector<int32_t> ids = c.entry["input_ids"];
  std::vector<int32_t> greedy = c.entry["greedy_tokens"];
  std::vector<Picture> pictures = test::CasePictures(c);
};

// A picture of the same size and grid with other content.
std::vector<Picture> Inverted(std::vector<Picture> pictures) {
  for (uint8_t& p : pictures[0].pixels) p = static_cast<uint8_t>(255 - p);
  return pictures;
}

TEST(Session, SecondTurnReusesTokensAndPicture) {
  const PictureCase p;
  size_t encodes = 0;
  SessionOptions options = kOptions;
  options.progress = [&](const Progress& at) {
    encodes += at.phase == Phase::kEncode && at.done == 0;
    return true;
  };
  Session session(TinyMoe(), options);
  const Reply first = session.Complete(p.ids, p.pictures, {}, Greedy(4));
  EXPECT_EQ(first.reused_tokens, 0u);
  EXPECT_GT(first.image_tokens, 0u);
  std::vector<int32_t> longer = p.ids;
  longer.insert(longer.end(), p.greedy.begin(), p.greedy.begin() + 4);
  const Reply second = session.Complete(longer, p.pictures, {}, Greedy(12));
  EXPECT_EQ(second.reused_tokens, p.ids.size() + 3);  // the fourth token was chosen but never run
  EXPECT_EQ(second.ids, std::vector<int32_t>(p.greedy.begin() + 4, p.greedy.end()));
  EXPECT_EQ(encodes, 1u);
}

TEST(Session, OtherPictureOfTheSameSizeIsNotTakenFromTheCache) {
  const PictureCase p;
  Session fresh(TinyMoe(), kOptions);
  const Reply wanted = fresh.Complete(p.ids, Inverted(p.pictures), {}, Greedy(8));
  Session session(TinyMoe(), kOptions);
  session.Complete(p.ids, p.pictures, {}, Greedy(8));
  const Reply found = session.Complete(p.ids, Inverted(p.pictures), {}, Greedy(8));
  EXPECT_LT(found.reused_tokens, p.ids.size() - 1);
  EXPECT_EQ(found.ids, wanted.ids);
  EXPECT_NE(found.ids, std::vector<int32_t>(p.greedy.begin(), p.greedy.begin() + 8));
}

TEST(Session, PrefixThatEndsInsideAPictureGivesTheSameAnswer) {
  const PictureCase p;
  std::vector<int32_t> other = p.ids;
  other[0] = (other[0] + 1) % 900;  // shares nothing: the cached features still serve
  Session session(TinyMoe(), kOptions);
  session.Complete(other, p.pictures, {}, Greedy(1));
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids, p.greedy);
}

TEST(Session, EndsAtTheTokenLimitAndAtTheFullContext) {
  const PictureCase p;
  Session session(TinyMoe(), kOptions);
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(5)).finish, FinishReason::kLength);
  SessionOptions small = kOptions;
  small.context = p.ids.size() + 3;
  small.pictures_to_fit = 0;
  Session tight(TinyMoe(), small);
  const Reply reply = tight.Complete(p.ids, p.pictures, {}, Greedy(100));
  EXPECT_EQ(reply.finish, FinishReason::kContextFull);
  EXPECT_EQ(reply.ids,
            std::vector<int32_t>(p.greedy.begin(), p.greedy.begin() + 4));  // three run, the fourth chosen
}

TEST(Session, EndsAtTheEndTokenOfTheGenerationConfig) {
  const PictureCase p;
  const test::TempDir folder;
  const std::filesystem::path from = test::DataPath("models/tiny-moe");
  std::filesystem::copy(from, folder.path());
  folder.Write("generation_config.json",
               R"({"do_sample": false, "eos_token_id": [1002, )" + std::to_string(p.greedy[3]) + "]}");
  Session session(Model::Load(folder.path()), kOptions);
  const Reply reply = session.Complete(p.ids, p.pictures, {}, {.max_tokens = 16});
  EXPECT_EQ(reply.finish, FinishReason::kStop);
  const auto end = std::find(p.greedy.begin(), p.greedy.end(), p.greedy[3]);
  EXPECT_EQ(reply.ids, std::vector<int32_t>(p.greedy.begin(), end));
}

TEST(Session, TokensMayBeChosenFromTheLogitsByTheCaller) {
  const PictureCase p;
  Session session(TinyMoe(), kOptions);
  GenerateOptions options = Greedy(16);
  std::vector<int32_t> chosen;
  options.choose = [&](std::span<const float> logits) {
    const auto best = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
    chosen.push_back(chosen.size() % 2 == 0 ? best : 7);  // every other one against the model's will
    return chosen.back();
  };
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, options).ids, chosen);
  EXPECT_EQ(chosen.size(), 16u);
  EXPECT_EQ(chosen[0], p.greedy[0]);
  for (const int32_t bad : {-1, 5000}) {
    options.choose = [&](std::span<const float>) { return bad; };
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "choose: token " + std::to_string(bad) + ", want 0 to ",
                 session.Complete(p.ids, p.pictures, {}, options));
  }
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids, p.greedy);
}

TEST(Session, NoTokensAskedForRunsThePromptOnly) {
  const PictureCase p;
  Session session(TinyMoe(), kOptions);
  const Reply reply = session.Complete(p.ids, p.pictures, {}, Greedy(0));
  EXPECT_TRUE(reply.ids.empty());
  EXPECT_EQ(session.length(), p.ids.size());
}

TEST(Session, RefusesPromptsThatCannotWork) {
  const PictureCase p;
  Session session(TinyMoe(), kOptions);
  const auto message = [&](std::vector<int32_t> ids, std::vector<Picture> pictures) -> std::string {
    try {
      session.Complete(ids, pictures, {}, Greedy(1));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message({}, {}).find("no tokens"), std::string::npos);
  EXPECT_NE(message({1, 2, 5000}, {}).find("5000"), std::string::npos);
  EXPECT_NE(message({1, -3}, {}).find("-3"), std::string::npos);
  EXPECT_NE(message(std::vector<int32_t>(300, 7), {}).find("--ctx"), std::string::npos);
  EXPECT_NE(message(p.ids, {}), "no error");  // placeholders without a picture
  EXPECT_NE(message(p.ids, {p.pictures[0], p.pictures[0]}),
            "no error");                                  // one run of placeholders, two pictures
  EXPECT_NE(message({1, 2, 3}, p.pictures), "no error");  // a picture without placeholders
  // The session still works.
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids, p.greedy);
}

TEST(Session, CancelledInEveryPhaseItGoesOnRightAfterwards) {
  const PictureCase p;
  for (Phase phase : {Phase::kEncode, Phase::kPrefill, Phase::kDecode}) {
    SCOPED_TRACE(static_cast<int>(phase));
    bool armed = true;
    SessionOptions options = kOptions;
    options.prefill_chunk = 8;
    options.progress = [&](const Progress& at) { return !(armed && at.phase == phase && at.done >= 1); };
    Session session(TinyMoe(), options);
    EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).finish, FinishReason::kCancelled);
    armed = false;
    EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids, p.greedy);
  }
}

TEST(Session, CancelFromAnotherThreadStopsTheAnswer) {
  const PictureCase p;
  SessionOptions options = kOptions;
  options.context = 4096;
  std::atomic<bool> decoding{false};
  options.progress = [&](const Progress& at) {
    if (at.phase == Phase::kDecode) decoding = true;
    return true;
  };
  Session session(TinyMoe(), options);
  std::thread canceller([&] {
    while (!decoding) std::this_thread::yield();
    session.Cancel();
  });
  const Reply reply = session.Complete(p.ids, p.pictures, {}, Greedy(4000));
  canceller.join();
  EXPECT_EQ(reply.finish, FinishReason::kCancelled);
  EXPECT_LT(reply.ids.size(), 4000u);
}

// The prompt is made, which may take a while, between the begin of a call and Run.
TEST(Session, CancelledWhileItsPromptIsMadeItStops) {
  const PictureCase p;
  Generator generator(TinyMoe().impl(), kOptions);
  for (const bool cancelled : {true, false}) {
    const Generator::Call call(generator);
    if (cancelled) generator.runtime().cancel = true;
    const Reply reply =
        generator.Run(MakePrompt(std::vector<int32_t>{1, 2, 3}, {}, generator.prompt_context()), Greedy(2));
    EXPECT_EQ(reply.finish, cancelled ? FinishReason::kCancelled : FinishReason::kLength);
  }
}

TEST(Session, RefusesCallsFromItsOwnCallbacks) {
  const PictureCase p;
  Session* self = nullptr;
  size_t refused = 0;
  SessionOptions options = kOptions;
  options.progress = [&](const Progress&) {
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "callback", self->Reset());
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "callback", self->Complete(p.ids, p.pictures, {}, Greedy(1)));
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "callback", self->Chat({TextMessage("user", "Hi")}, Greedy(1)));
    ++refused;
    return true;
  };
  Session session(TinyMoe(), options);
  self = &session;
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids, p.greedy);
  EXPECT_GT(refused, 16u);
  session.Reset();
  EXPECT_EQ(session.length(), 0u);
}

TEST(Session, RefusesMoreThreadsThanAnyMachineHas) {
  for (const size_t threads : {size_t{1025}, size_t{1} << 60, SIZE_MAX}) {
    SessionOptions options = kOptions;
    options.threads = threads;
    EXPECT_ERROR(ErrorCode::kInvalidArgument, "threads: " + std::to_string(threads) + ", want 0 to 1024",
                 Session(TinyMoe(), options));
  }
}

// A text of nonsense would look like an answer; a verifying session has the deviations to show.
TEST(Session, LogitsThatAreNoNumbersAreAnErrorUnlessItVerifies) {
  const PictureCase p;
  attention::SetFaults("nan");
  SessionOptions options = kOptions;
  options.attention = AttentionChoice::kTiled;
  Session session(TinyMoe(), options);
  EXPECT_ERROR(ErrorCode::kCorruptFile, "logits", session.Complete(p.ids, p.pictures, {}, Greedy(2)));
  options.verify = true;
  Session verifying(TinyMoe(), options);
  EXPECT_TRUE(verifying.Complete(p.ids, p.pictures, {}, Greedy(2)).ids.empty());
  EXPECT_TRUE(std::isnan(verifying.deviations().front().rel_norm));
  attention::SetFaults("");
  EXPECT_EQ(session.Complete(p.ids, p.pictures, {}, Greedy(16)).finish, FinishReason::kLength);
}

TEST(Session, TwoSessionsShareAModelBetweenThreads) {
  const PictureCase p;
  std::vector<std::vector<int32_t>> answers(2);
  std::vector<std::thread> threads;
  for (std::vector<int32_t>& answer : answers)
    threads.emplace_back([&] {
      Session session(TinyMoe(), kOptions);
      answer = session.Complete(p.ids, p.pictures, {}, Greedy(16)).ids;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(answers[0], p.greedy);
  EXPECT_EQ(answers[1], p.greedy);
}

TEST(Session, VerifyFindsBothPathsAlike) {
  const PictureCase p;
  SessionOptions options = kOptions;
  options.verify = true;
  Session session(TinyMoe(), options);
  session.Complete(p.ids, p.pictures, {}, Greedy(4));
  const std::vector<LayerDeviation> deviations = session.deviations();
  EXPECT_EQ(deviations.size(), 5u);  // three vision blocks, two text layers
  for (const LayerDeviation& d : deviations)
    EXPECT_LT(d.rel_norm, 2e-6) << d.layer;  // the float32 path: Tolerances in tests/data/README.md
}

TEST(Session, ProfileCountsEveryAttention) {
  const PictureCase p;
  SessionOptions options = kOptions;
  options.profile = true;
  Session session(TinyMoe(), options);
  session.Complete(p.ids, p.pictures, {}, Greedy(4));
  size_t encode = 0, prefill = 0, decode = 0;
  for (const ProfileRow& row : session.profile()) {
    if (row.part != "attention") continue;
    (row.stage == "encode" ? encode : row.stage == "prefill" ? prefill : decode) += row.calls;
  }
  EXPECT_EQ(encode, 3u);
  EXPECT_EQ(prefill, 2u);
  EXPECT_EQ(decode, 3u * 2u);  // four tokens, the first from the prompt's logits
}

}  // namespace
}  // namespace qwen3vl
