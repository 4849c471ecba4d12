// SPDX-License-Identifier: Apache-2.0
// Whole models with their layers on the stand-in GPU: the recordings' logits and tokens, and everything that
// can go wrong with driver and device, at the start and in the middle of an answer. The tokens stay the same,
// and the cause is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "attention/fault.h"
#include "cuda/stand_in_code.h"
#include "qwen3vl/cuda/choose_gpu.h"
#include "qwen3vl/cuda/decoder_memory.h"
#include "qwen3vl/cuda/device_output.h"
#include "qwen3vl/cuda/golden_session.h"
#include "qwen3vl/memory_need.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using test::CaseNamed;
using test::FakeCuda;
using test::GoldenCase;
using test::TinyModel;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class GpuLayersTest : public test::GpuSessionTest {};

// A clip, whose features are added after both layers; logits and tokens of the Hugging Face code. Limits as
// for the CPU: Tolerances in tests/data/README.md.
TEST_F(GpuLayersTest, AllLayersOnTheGpuGiveTheRecordedNumbers) {
  const GoldenCase c = CaseNamed("robust_video");
  const test::GoldenFile golden(c.entry["file"].get<std::string>());
  test::TracedRun run;
  SessionOptions options = Options(2);
  options.trace = test::CollectInto(run);
  Session session(TinyModel(), options);
  EXPECT_THAT(session.gpu_report(),
              AllOf(HasSubstr("2 of 2 layers on "), HasSubstr("; the output matrix on "),
                    Not(HasSubstr("on the CPU"))));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  for (const char* name : {"text.final_norm", "logits"}) {
    const std::vector<float> wanted = golden[name].Floats();
    EXPECT_TRUE(test::AllNear(run.tensors.at(name).floats, wanted, test::kHiddenTolerance)) << name;
  }
  const std::vector<double> judge = golden["last_logits_f64"].Doubles();
  EXPECT_TRUE(test::AllNear(std::span(run.tensors.at("logits").floats).last(judge.size()), judge,
                            test::kHiddenTolerance));
  EXPECT_EQ(session.attention_paths(), "cpu_tiled, cuda_tiled");  // the tower, the text
  EXPECT_THAT(warnings_, IsEmpty());
}

// A mixture of experts in BF16, by pairs of a token and an expert (8 tokens) and by tiles of them (20).
TEST_F(GpuLayersTest, AMixtureOfExpertsGivesTheRecordedNumbers) {
  const Model model = Model::Load(test::DataPath("models/tiny-moe"));
  for (const char* name : {"robust_text", "text_20"}) {
    SCOPED_TRACE(name);
    const GoldenCase c = CaseNamed("tiny-moe", name);
    const test::GoldenFile golden(c.entry["file"].get<std::string>());
    test::TracedRun run;
    SessionOptions options = Options(2);
    options.trace = test::CollectInto(run);
    Session session(model, options);
    EXPECT_THAT(session.gpu_report(), HasSubstr("2 of 2 layers on "));
    EXPECT_EQ(Run(session, c, 4).ids, Greedy(c, 4));
    EXPECT_TRUE(test::AllNear(run.tensors.at("text.final_norm").floats, golden["text.final_norm"].Floats(),
                              test::kHiddenTolerance));
    const std::vector<double> judge = golden["last_logits_f64"].Doubles();
    EXPECT_TRUE(test::AllNear(std::span(run.tensors.at("logits").floats).last(judge.size()), judge,
                              test::kHiddenTolerance));
    EXPECT_EQ(session.attention_paths(), "cuda_tiled");
    EXPECT_THAT(warnings_, IsEmpty());
  }
}

struct GuessCase {
  const char* model;
  size_t layers;
  KvType kv_type;
};

// The answer repeats the prompt up to a place: some guesses come true, the last ones do not. The logits of
// every token are those of an answer without guesses, to the bit.
TEST_F(GpuLayersTest, GuessedTokensAreComputedAsIfAlone) {
  const std::vector<int32_t> prompt = {21, 22, 23, 24, 25, 26, 27, 28};
  const int32_t said[] = {21, 22, 23, 24, 25, 26, 50, 60};
  for (const GuessCase& c : {GuessCase{"tiny-b", 2, KvType::kQ8_0}, {"tiny-moe", 1, KvType::kF16}}) {
    SCOPED_TRACE(c.model);
    const Model model = Model::Load(test::DataPath(std::string("models/") + c.model));
    SessionOptions options = Options(c.layers);
    options.kv_type = c.kv_type;
    const auto answer = [&](size_t draft_tokens) {
      std::vector<std::vector<float>> rows;
      GenerateOptions generate{
          .max_tokens = std::size(said), .draft_tokens = draft_tokens, .ignore_end = true};
      generate.choose = [&](std::span<const float> row) {
        rows.emplace_back(row.begin(), row.end());
        return said[rows.size() - 1];
      };
      Session session(model, options);
      EXPECT_THAT(session.gpu_report(), HasSubstr(" of 2 layers on NVIDIA "));
      const Reply reply = session.Complete(prompt, {}, {}, generate);
      EXPECT_EQ(reply.accepted_tokens > 0, draft_tokens > 0);
      EXPECT_EQ(reply.drafted_tokens > reply.accepted_tokens, draft_tokens > 0);
      return rows;
    };
    EXPECT_EQ(answer(3), answer(0));
    EXPECT_THAT(warnings_, IsEmpty());
  }
}

// Within a twentieth.
TEST_F(GpuLayersTest, TakeTheMemoryThatWasAnnounced) {
  for (const char* name : {"tiny-b", "tiny-moe"}) {
    SCOPED_TRACE(name);
    const Model model = Model::Load(test::DataPath(std::string("models/") + name));
    const ModelFiles& files = model.impl()->files;
    SessionOptions options = Options(2);
    options.gpu_vision = GpuVision::kOff;
    options.context = 256;
    // Heads of the second model are narrower than the kernels', which takes more: the same in wider ones.
    ModelConfig config = files.config;
    TextConfig& t = config.text;
    const size_t q_dim = t.q_dim(), kv_dim = t.kv_dim();
    t.head_dim = 128, t.n_heads = q_dim / 128, t.n_kv_heads = kv_dim / 128;
    const attention::KvCacheShape kv{
        .n_layers = 2, .n_kv_heads = t.n_kv_heads, .head_dim = t.head_dim, .capacity = 256};
    const DecoderMemory layers =
        PlaceDecoder(t, files.text, {0, 2}, kv, options.context, /*multiprocessors=*/5);
    const double taken = static_cast<double>(layers.total() + PlaceOutput(files.text.output).bytes);
    EXPECT_NEAR(static_cast<double>(EstimateGpuMemory(config, files.tensors, options, {})), taken,
                0.05 * taken);
  }
}

TEST_F(GpuLayersTest, TheLastLayerAloneAndInSmallChunks) {
  const GoldenCase c = CaseNamed("robust_text");
  SessionOptions options = Options(1);
  options.prefill_chunk = 6;
  Session session(TinyModel(), options);
  EXPECT_THAT(session.gpu_report(), AllOf(HasSubstr("1 of 2 layers"), Not(HasSubstr("output matrix"))));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_EQ(session.attention_paths(), "cpu_tiled, cuda_tiled");
}

// Between the layers and the logits of all positions; nothing of the step is lost.
TEST_F(GpuLayersTest, TheOutputMatrixFailsAloneAndTheLayersFollow) {
  const GoldenCase c = CaseNamed("robust_text");
  const test::GoldenFile golden(c.entry["file"].get<std::string>());
  test::TracedRun run;
  SessionOptions options = Options(2);
  options.trace = [&, collect = test::CollectInto(run)](const TraceTensor& tensor) {
    if (tensor.name == "text.final_norm") fake_.Fault("run");
    if (tensor.name == "logits") fake_.Fault("");
    collect(tensor);
  };
  Session session(TinyModel(), options);
  EXPECT_EQ(Run(session, c, 3).ids, Greedy(c, 3));
  EXPECT_TRUE(
      test::AllNear(run.tensors.at("logits").floats, golden["logits"].Floats(), test::kHiddenTolerance));
  ASSERT_EQ(warnings_.size(), 1u) << testing::PrintToString(warnings_);
  EXPECT_THAT(warnings_[0], AllOf(HasSubstr("run of output matrix: CUDA error 700"),
                                  HasSubstr("layers 0 to 1 and the output matrix go on on the CPU")));
}

TEST_F(GpuLayersTest, Int8ScoresAreTakenAndNamed) {
  const GoldenCase c = CaseNamed("robust_text");
  const test::GoldenFile golden(c.entry["file"].get<std::string>());
  test::TracedRun run;
  SessionOptions options = Options(2);
  options.gpu_scores = GpuScores::kInt8;
  options.trace = test::CollectInto(run);
  Session session(TinyModel(), options);
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_EQ(session.attention_paths(), "cuda_tiled, int8 scores");
  // As far as rounding q and k takes two layers, docs/gpu.md; scores in fp32 come within 1e-4.
  const double error = test::RelativeError(run.tensors.at("logits").floats, golden["logits"].Floats());
  EXPECT_LE(error, 2 * 8e-3);
  EXPECT_GT(error, 1e-5);
}

TEST_F(GpuLayersTest, ThePtxThatIsShippedGivesTheTokens) {
  fake_.ExecutePtx(true);
  const GoldenCase c = CaseNamed("robust_text");
  Session session(TinyModel(), Options(1));
  EXPECT_THAT(session.gpu_report(), HasSubstr("1 of 2 layers"));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_THAT(warnings_, IsEmpty());
}

// A conversation that goes on: the cache keeps what the two prompts share, here and there.
TEST_F(GpuLayersTest, AnEarlierPromptIsReused) {
  const GoldenCase c = CaseNamed("robust_text");
  Session session(TinyModel(), Options(1));
  Run(session, c, 3);
  const Reply again = Run(session, c, 3);
  EXPECT_EQ(again.reused_tokens, again.prompt_tokens - 1);
  EXPECT_EQ(again.ids, Greedy(c, 3));
}

TEST_F(GpuLayersTest, AutoSaysWhatItMeasured) {
  const GoldenCase c = CaseNamed("robust_text");
  SessionOptions options = Options(kAutoGpuLayers);
  options.context = 16;
  options.gpu_vision = GpuVision::kOff;
  Session session(TinyModel(), options);
  // The emulator is slower than any processor.
  EXPECT_THAT(session.gpu_report(),
              AllOf(HasSubstr("all layers on the CPU: a layer takes"), Not(HasSubstr("tower"))));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
}

TEST_F(GpuLayersTest, AutoTakesAGpuThatIsFaster) {
  fake_.ExecuteNothing();
  SessionOptions options = Options(kAutoGpuLayers);
  options.context = 16;
  const std::string gpu = "NVIDIA GeForce GTX 1050: ";
  EXPECT_THAT(Session(TinyModel(), options).gpu_report(),
              AllOf(HasSubstr("2 of 2 layers on " + gpu + "a layer takes "),
                    HasSubstr("; the output matrix on " + gpu + "it takes "),
                    HasSubstr("; the vision tower on " + gpu + "a block takes ")));
}

TEST_F(GpuLayersTest, NoMoreLayersThanTheMemoryHolds) {
  // One layer of this model takes 5.6 MiB with its activations, both 8.2; 96 are left to the driver.
  const auto report = [&](const char* free_mebibytes, const SessionOptions& options) {
    fake_.FreeMebibytes(free_mebibytes);
    return Session(TinyModel(), options).gpu_report();
  };
  EXPECT_THAT(report("103", Options(2)),
              AllOf(HasSubstr("1 of 2 layers"), HasSubstr("no more fit in the 103 MiB")));
  EXPECT_THAT(report("97", Options(2)), HasSubstr("can take none"));
  // The output matrix comes last.
  EXPECT_THAT(report("105", Options(2)), HasSubstr("; the output matrix on NVIDIA"));
  SessionOptions options = Options(2);
  options.context = 76;  // takes what was left
  EXPECT_THAT(
      report("105", options),
      AllOf(HasSubstr("2 of 2 layers"), HasSubstr("; the output matrix on the CPU: its 0 MiB do not fit")));
  // The tower comes first.
  options.gpu_vision = GpuVision::kOn;
  options.max_image_tokens = 16;
  EXPECT_THAT(report("105", options),
              AllOf(HasSubstr("can take none"), HasSubstr("; the vision tower on NVIDIA")));
  EXPECT_THAT(report("107", options),
              AllOf(HasSubstr("1 of 2 layers"), HasSubstr("; the vision tower on NVIDIA")));
}

// What is shown needs memory, too.
TEST_F(GpuLayersTest, ADisplayKeepsMoreOfTheMemory) {
  fake_.Device("display");
  fake_.FreeMebibytes("257");
  EXPECT_THAT(Session(TinyModel(), Options(2)).gpu_report(), HasSubstr("can take none"));
  fake_.FreeMebibytes("263");
  EXPECT_THAT(Session(TinyModel(), Options(2)).gpu_report(), HasSubstr("1 of 2 layers"));
}

// Between the question what is free and the taking of it.
TEST_F(GpuLayersTest, FewerLayersWhereAnotherProgramIsFaster) {
  const GoldenCase c = CaseNamed("robust_text");
  fake_.FreeMebibytes("105");
  fake_.TakenMebibytes("98");
  Session session(TinyModel(), Options(2));
  EXPECT_THAT(session.gpu_report(), AllOf(HasSubstr("1 of 2 layers"), HasSubstr("no more fit in the"),
                                          Not(HasSubstr("output matrix"))));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
}

TEST_F(GpuLayersTest, NobodyAsksNobodyIsTold) {
  Session session(TinyModel(), Options(0));
  EXPECT_EQ(session.gpu_report(), "");
}

TEST_F(GpuLayersTest, WhatTheGpuCannotDoStaysOnTheCpu) {
  SessionOptions options = Options(2);
  options.verify = true;
  EXPECT_THAT(Session(TinyModel(), options).gpu_report(), HasSubstr("verified"));
  options = Options(2);
  options.exact = true;
  EXPECT_THAT(Session(TinyModel(), options).gpu_report(), HasSubstr("exactly"));
  const Model q2_k = Model::Load(test::DataPath("gguf/models/tiny-q-q2_k.gguf"));
  EXPECT_THAT(Session(q2_k, Options(1)).gpu_report(), HasSubstr("_K weights, want f32, f16"));
}

class GpuLayersStartTest : public GpuLayersTest, public testing::WithParamInterface<test::StartFault> {};

TEST_P(GpuLayersStartTest, EverythingRunsOnTheCpuAndTheCauseIsTold) {
  GetParam().provoke(fake_);
  const GoldenCase c = CaseNamed("robust_text");
  Session session(TinyModel(), Options(2));
  EXPECT_THAT(session.gpu_report(), AllOf(HasSubstr("all layers on the CPU"), HasSubstr(GetParam().cause)));
  EXPECT_EQ(Run(session, c, 8).ids, Greedy(c, 8));
  EXPECT_EQ(session.attention_paths(), "cpu_tiled");
}

INSTANTIATE_TEST_SUITE_P(Faults, GpuLayersStartTest, testing::ValuesIn(test::StartFaults()), test::NameOf);
INSTANTIATE_TEST_SUITE_P(
    Drivers, GpuLayersStartTest,
    testing::Values(
        test::StartFault{"BrokenDriver", [](FakeCuda& f) { f.Device("broken"); }, "does not start"},
        test::StartFault{"OldDevice", [](FakeCuda& f) { f.Device("maxwell"); }, "compute capability 5.0"}),
    test::NameOf);

// Through the interface that takes another driver library: no driver at all, and one that lacks functions.
TEST_F(GpuLayersTest, WithoutADriverAndWithAnOldOne) {
  const ModelFiles& files = TinyModel().impl()->files;
  SessionOptions options = Options(2);
  const GpuRequest request{.config = &files.config.text,
                           .weights = &files.text,
                           .kv = {.n_layers = 2, .n_kv_heads = 8, .head_dim = 128, .capacity = 64},
                           .options = &options};
  const GpuCode code{test::StandInDeviceCode(), test::StandInDeviceCode()};
  const auto report = [&](const char* driver, const GpuCode& with) {
    const GpuChoice choice = ChooseGpu(request, driver, with);
    EXPECT_EQ(choice.layers, nullptr);
    return choice.report;
  };
  EXPECT_EQ(report("libqwen3vl_no_such_driver.so.1", code),
            "all layers on the CPU: no NVIDIA driver (libqwen3vl_no_such_driver.so.1 not found)");
  EXPECT_THAT(report(QWEN3VL_FAKE_CUDA_LIST_ONLY, code), HasSubstr("NVIDIA driver too old"));
  EXPECT_THAT(report(QWEN3VL_FAKE_CUDA, {}), HasSubstr("no device code"));
}

struct AnswerFault {
  const char* name;
  const char* fault;
  const char* cause;
};

void PrintTo(const AnswerFault& f, std::ostream* os) { *os << f.name; }

class GpuLayersAnswerTest : public GpuLayersTest, public testing::WithParamInterface<AnswerFault> {};

// The device fails after two tokens, for good or for a moment; the answer goes on from the cache in main
// memory.
TEST_P(GpuLayersAnswerTest, TheAnswerGoesOnAndTheCauseIsToldOnce) {
  const GoldenCase c = CaseNamed("robust_text");
  SessionOptions options = Options(1);
  size_t prefilled = 0;
  options.progress = [&](const Progress& p) {
    if (p.phase == Phase::kPrefill) prefilled = p.done;
    if (p.phase == Phase::kDecode && p.done == 2) fake_.Fault(GetParam().fault);
    if (p.phase == Phase::kDecode && p.done == 5) fake_.Fault("");
    return true;
  };
  Session session(TinyModel(), options);
  ASSERT_THAT(session.gpu_report(), HasSubstr("1 of 2 layers"));
  EXPECT_EQ(Run(session, c, 8).ids, Greedy(c, 8));
  EXPECT_EQ(prefilled, c.entry["n_tokens"].get<size_t>());
  ASSERT_EQ(warnings_.size(), 1u) << testing::PrintToString(warnings_);
  EXPECT_THAT(warnings_[0], AllOf(HasSubstr("gpu: "), HasSubstr(GetParam().cause),
                                  HasSubstr("layers 1 to 1 go on on the CPU")));
  // The next prompt takes up the cache and runs on the CPU alone.
  const Reply next = Run(session, c, 2);
  EXPECT_EQ(next.ids, Greedy(c, 2));
  EXPECT_EQ(next.reused_tokens, next.prompt_tokens - 1);
  EXPECT_EQ(warnings_.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Faults, GpuLayersAnswerTest,
    testing::Values(AnswerFault{"Launch", "launch", "launch of layer_rms_norm: CUDA error 719"},
                    AnswerFault{"LaunchMemory", "launch_memory", "CUDA_ERROR_OUT_OF_MEMORY"},
                    AnswerFault{"DeviceGone", "run", "run of decoder layers 1 to 1: CUDA error 700"},
                    AnswerFault{"Upload", "upload", "cuMemcpyHtoD"},
                    AnswerFault{"Download", "download", "cuMemcpyDtoH"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// The hook that every build carries.
TEST_F(GpuLayersTest, FaultHookProvokesTheFallbacks) {
  const GoldenCase c = CaseNamed("robust_text");
  attention::SetFaults("device");
  EXPECT_THAT(Session(TinyModel(), Options(2)).gpu_report(), HasSubstr("no device (asked for by"));
  attention::SetFaults("alloc");
  EXPECT_THAT(Session(TinyModel(), Options(2)).gpu_report(), HasSubstr("no device memory (asked for by"));
  attention::SetFaults("");
  Session session(TinyModel(), Options(2));
  attention::SetFaults("launch");
  EXPECT_EQ(Run(session, c, 8).ids, Greedy(c, 8));
  attention::SetFaults("");
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_THAT(warnings_[0], HasSubstr("kernel launch failed (asked for by"));
}

}  // namespace
}  // namespace qwen3vl
