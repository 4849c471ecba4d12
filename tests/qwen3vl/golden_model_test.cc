// SPDX-License-Identifier: Apache-2.0
// Whole models against the recordings of the Hugging Face code: every stage, and the tokens that follow.
// Limits: Tolerances in tests/data/README.md. Ids, positions and grids are exact.
#include "support/golden_model.h"

#include <gtest/gtest.h>

#include "qwen3vl/qwen3vl.h"
#include "support/isa.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using test::GoldenCase;

const Model& SharedModel(const std::string& name) {
  static std::map<std::string, Model> models;
  const auto at = models.find(name);
  return at != models.end()
             ? at->second
             : models.emplace(name, Model::Load(test::DataPath("models/" + name))).first->second;
}

// One way to run a case.
struct Way {
  const char* name;
  AttentionChoice attention = AttentionChoice::kAuto;
  size_t threads = 1;
  size_t chunk = 512;
  size_t tile = 0;
};

void PrintTo(const Way& way, std::ostream* os) { *os << way.name; }

SessionOptions ToOptions(const Way& way) {
  return {.threads = way.threads,
          .context = 1024,
          .kv_type = KvType::kF32,
          .attention = way.attention,
          .tile = way.tile,
          .prefill_chunk = way.chunk};
}

Reply RunCase(const GoldenCase& c, Session& session, size_t n_tokens) {
  const std::vector<int32_t> ids = c.entry["input_ids"];
  return session.Complete(ids, test::CasePictures(c), test::CaseClips(c), test::Greedy(n_tokens));
}

void ExpectTensors(const test::TracedRun& run, const test::GoldenFile& golden) {
  size_t compared = 0;
  for (const auto& [name, wanted] : golden.tensors()) {
    const bool tail = name == "logits_tail";
    if (name == "last_logits_f64" || name == "greedy_tokens" || name == "greedy_step_index" ||
        name == "greedy_step_logits")
      continue;
    SCOPED_TRACE(name);
    const auto at = run.tensors.find(tail ? "logits" : name);
    ASSERT_TRUE(at != run.tensors.end()) << "the trace has no such tensor";
    const test::TracedTensor& found = at->second;
    ++compared;
    if (wanted.dtype == "I32" || wanted.dtype == "I64") {
      EXPECT_EQ(found.ints, wanted.Ints());
      EXPECT_EQ(found.shape, wanted.shape);
      continue;
    }
    const std::vector<float> want = wanted.Floats();
    std::span<const float> floats = found.floats;
    if (tail) floats = floats.last(want.size());
    if (!tail) {
      EXPECT_EQ(found.shape, wanted.shape);
    }
    EXPECT_TRUE(test::AllNear(floats, want, wanted.shape.back(), test::ToleranceOfTensor(name)));
  }
  EXPECT_GE(compared, 4u) << "the recording has hardly any tensors";
}

void ExpectGreedy(const Reply& reply, const test::TracedRun& run, const GoldenCase& c,
                  const test::GoldenFile& golden) {
  EXPECT_EQ(reply.ids, c.entry["greedy_tokens"].get<std::vector<int32_t>>());
  const std::vector<int32_t> steps = golden["greedy_step_index"].Ints();
  const std::vector<float> wanted = golden["greedy_step_logits"].Floats();
  const size_t vocab_size = golden["greedy_step_logits"].shape[1];
  const std::vector<float>& found = run.tensors.at("greedy_step_logits").floats;
  for (size_t j = 0; j < steps.size(); ++j) {
    const auto row = std::span(found).subspan(static_cast<size_t>(steps[j]) * vocab_size, vocab_size);
    EXPECT_TRUE(
        test::AllNear(row, std::span(wanted).subspan(j * vocab_size, vocab_size), test::kHiddenTolerance))
        << "step " << steps[j];
  }
}

class GoldenModelTest : public testing::TestWithParam<std::tuple<std::string, Way>> {};

TEST_P(GoldenModelTest, EveryStageAndTokenAsTheReference) {
  const auto& [model, way] = GetParam();
  const std::vector<GoldenCase> cases = test::GoldenCases(model);
  ASSERT_FALSE(cases.empty());
  for (const GoldenCase& c : cases) {
    SCOPED_TRACE(c.name());
    const test::GoldenFile golden(c.entry["file"].get<std::string>());
    test::TracedRun run;
    SessionOptions options = ToOptions(way);
    options.trace = test::CollectInto(run);
    Session session(SharedModel(model), options);
    const Reply reply = RunCase(c, session, c.entry["greedy_tokens"].size());
    EXPECT_EQ(reply.prompt_tokens, c.entry["n_tokens"].get<size_t>());
    ExpectTensors(run, golden);
    ExpectGreedy(reply, run, c, golden);
    // The float64 run of the reference is the judge of the last row.
    const std::vector<double> judge = golden["last_logits_f64"].Doubles();
    EXPECT_TRUE(test::AllNear(std::span(run.tensors.at("logits").floats).last(judge.size()), judge,
                              test::kHiddenTolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModelTest,
                         testing::Combine(testing::ValuesIn(test::GoldenModels()),
                                          testing::Values(Way{"Tiled", AttentionChoice::kTiled},
                                                          Way{"Standard", AttentionChoice::kStandard},
                                                          Way{"ThreeThreads", AttentionChoice::kAuto, 3},
                                                          Way{"Chunked", AttentionChoice::kAuto, 2, 7},
                                                          Way{"SmallTile", AttentionChoice::kTiled, 2, 64,
                                                              16})),
                         [](const auto& param_info) {
                           std::string name = std::get<0>(param_info.param);
                           std::erase(name, '-');
                           return name + std::get<1>(param_info.param).name;
                         });

TEST(GoldenModelIsaTest, SameTokensOnEveryInstructionSet) {
  size_t n_runs = 0;
  test::OnEveryIsa([&] {
    for (const char* model : {"tiny-b", "tiny-moe"}) {
      for (const GoldenCase& c : test::GoldenCases(model)) {
        SCOPED_TRACE(c.name());
        Session session(SharedModel(model), ToOptions({"", AttentionChoice::kAuto, 2}));
        EXPECT_EQ(RunCase(c, session, c.entry["greedy_tokens"].size()).ids,
                  c.entry["greedy_tokens"].get<std::vector<int32_t>>());
        ++n_runs;
      }
    }
  });
  EXPECT_GE(n_runs, 2u);
}

// CpuProducts::kAuto goes by what weights, keys and values are kept in: these weights are bf16. What it
// rounds stays within what a cache in F16 may cost (Tolerances in tests/data/README.md).
TEST(GoldenModelProductsTest, AutoRoundsBf16WeightsUnlessKeysAreKeptInF32) {
  const GoldenCase c = test::CaseNamed("tiny-b", "image_wide");
  const auto run = [&](KvType type, CpuProducts products) {
    test::TracedRun traced;
    SessionOptions options = ToOptions({"", AttentionChoice::kTiled, 2});
    options.kv_type = type;
    options.cpu_products = products;
    options.trace = test::CollectInto(traced);
    Session session(SharedModel("tiny-b"), options);
    RunCase(c, session, 1);
    return traced;
  };
  const test::TracedRun floats = run(KvType::kF16, CpuProducts::kF32);
  const test::TracedRun int16 = run(KvType::kF16, CpuProducts::kInt16);
  const test::TracedRun found = run(KvType::kF16, CpuProducts::kAuto);
  const test::TracedRun full = run(KvType::kF32, CpuProducts::kAuto);
  for (const char* name : {"vision.patch_embed", "vision.block.0", "vision.merger", "text.layer.0"}) {
    SCOPED_TRACE(name);
    const std::vector<float>& rounded = found.tensors.at(name).floats;
    EXPECT_EQ(rounded, int16.tensors.at(name).floats);
    EXPECT_NE(rounded, floats.tensors.at(name).floats);
    EXPECT_LE(test::RelativeError(rounded, full.tensors.at(name).floats), 1e-3);
  }
  EXPECT_EQ(full.tensors.at("logits").floats,
            run(KvType::kF32, CpuProducts::kF32).tensors.at("logits").floats);
}

TEST(GoldenModelKvTest, HalfPrecisionCachesKeepTheRobustTokens) {
  for (const std::string model : {"tiny-b", "tiny-moe"}) {
    size_t n_cases = 0;
    for (const GoldenCase& c : test::GoldenCases(model)) {
      if (!c.name().starts_with("robust"))
        continue;  // margins of at least 0.3: a cache in 16 or 8 bits must not flip them
      ++n_cases;
      for (KvType type : {KvType::kF16, KvType::kBF16, KvType::kQ8_0}) {
        SCOPED_TRACE(c.name() + " " + std::to_string(static_cast<int>(type)));
        SessionOptions options = ToOptions({"", AttentionChoice::kAuto, 2});
        options.kv_type = type;
        Session session(SharedModel(model), options);
        EXPECT_EQ(RunCase(c, session, c.entry["greedy_tokens"].size()).ids,
                  c.entry["greedy_tokens"].get<std::vector<int32_t>>());
      }
    }
    EXPECT_GE(n_cases, 1u) << model;
  }
}

}  // namespace
}  // namespace qwen3vl
