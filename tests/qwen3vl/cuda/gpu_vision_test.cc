// SPDX-License-Identifier: Apache-2.0
// Whole models with their vision tower on the stand-in GPU: the recordings' features, logits and tokens, and
// everything that can go wrong with driver and device, at the start and while a picture is encoded. The
// tokens stay the same, and the cause is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "attention/fault.h"
#include "cuda/stand_in_code.h"
#include "qwen3vl/cuda/choose_gpu.h"
#include "qwen3vl/cuda/golden_session.h"
#include "qwen3vl/cuda/vision_memory.h"
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

class GpuVisionTest : public test::GpuSessionTest {
 protected:
  SessionOptions WithTower(size_t layers = 0) {
    SessionOptions options = Options(layers);
    options.gpu_vision = GpuVision::kOn;
    options.max_image_tokens = 128;  // of 4 patches
    return options;
  }
};

struct TowerRun {
  const char* name;  // of the case
  bool both;         // layers on the GPU too
};

void PrintTo(const TowerRun& run, std::ostream* os) { *os << run.name; }

class GpuVisionGoldenTest : public GpuVisionTest, public testing::WithParamInterface<TowerRun> {};

// All that the Hugging Face code recorded of tower and logits. Limits as for the CPU:
// Tolerances in tests/data/README.md.
TEST_P(GpuVisionGoldenTest, GivesTheRecordedNumbers) {
  const GoldenCase c = CaseNamed(GetParam().name);
  const test::GoldenFile golden(c.entry["file"].get<std::string>());
  test::TracedRun run;
  SessionOptions options = WithTower(GetParam().both ? 2 : 0);
  options.context = 256;
  options.trace = test::CollectInto(run);
  Session session(TinyModel(), options);
  EXPECT_THAT(session.gpu_report(),
              AllOf(HasSubstr("the vision tower on "), Not(HasSubstr("the vision tower on the CPU"))));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  size_t compared = 0;
  for (const auto& [name, wanted] : golden.tensors()) {
    if (!name.starts_with("vision.") && name != "logits") continue;
    SCOPED_TRACE(name);
    const test::TracedTensor& found = run.tensors.at(name);
    EXPECT_TRUE(
        test::AllNear(found.floats, wanted.Floats(), wanted.shape.back(), test::ToleranceOfTensor(name)));
    ++compared;
  }
  EXPECT_GE(compared, 3u);  // deepstack rows and merger at least
  const std::vector<double> judge = golden["last_logits_f64"].Doubles();
  EXPECT_TRUE(test::AllNear(std::span(run.tensors.at("logits").floats).last(judge.size()), judge,
                            test::kHiddenTolerance));
  EXPECT_EQ(session.attention_paths(), GetParam().both ? "cuda_tiled" : "cpu_tiled, cuda_tiled");
  EXPECT_THAT(warnings_, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Cases, GpuVisionGoldenTest,
                         testing::Values(TowerRun{"two_images", false}, TowerRun{"video_4_frames", false},
                                         TowerRun{"robust_video", true}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_F(GpuVisionTest, ThePtxThatIsShippedGivesTheTokens) {
  fake_.ExecutePtx(true);
  const GoldenCase c = CaseNamed("robust_video");
  Session session(TinyModel(), WithTower());
  EXPECT_THAT(session.gpu_report(), HasSubstr("the vision tower on NVIDIA"));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(GpuVisionTest, AutoGoesWithAutoLayersAndSaysWhatItMeasured) {
  const GoldenCase c = CaseNamed("robust_video");
  Session session(TinyModel(), Options(kAutoGpuLayers));
  EXPECT_THAT(session.gpu_report(),
              AllOf(HasSubstr("; the vision tower on the CPU: a block takes"), HasSubstr("for 256 patches")));
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
}

TEST_F(GpuVisionTest, StaysOnTheCpuUnlessAskedFor) {
  EXPECT_THAT(Session(TinyModel(), Options(1)).gpu_report(), Not(HasSubstr("tower")));
  SessionOptions options = WithTower(1);
  options.gpu_vision = GpuVision::kOff;
  EXPECT_THAT(Session(TinyModel(), options).gpu_report(), Not(HasSubstr("tower")));
}

TEST_F(GpuVisionTest, StaysOnTheCpuWhereItsMemoryIsNotFree) {
  // A layer takes 5.6 MiB, the tower more; 96 are left to the driver.
  fake_.FreeMebibytes("102");
  EXPECT_THAT(Session(TinyModel(), WithTower(2)).gpu_report(),
              AllOf(HasSubstr("1 of 2 layers on NVIDIA"), HasSubstr("the vision tower on the CPU: its"),
                    HasSubstr("do not fit in the 6 MiB that NVIDIA GeForce GTX 1050 has left")));
}

TEST_F(GpuVisionTest, TakesTheMemoryThatWasAnnounced) {
  const ModelFiles& files = TinyModel().impl()->files;
  const SessionOptions options = WithTower();
  const size_t patches = std::min(MaxPatches(files.config, options), kGpuPatches);
  const size_t taken = PlaceVisionWeights(files.vision).bytes +
                       PlaceVisionActivations(*files.config.vision, patches, /*multiprocessors=*/5).bytes;
  const double announced = static_cast<double>(EstimateGpuMemory(files.config, files.tensors, options, {}));
  EXPECT_NEAR(announced, static_cast<double>(taken), 0.1 * static_cast<double>(taken));
}

class GpuVisionStartTest : public GpuVisionTest, public testing::WithParamInterface<test::StartFault> {};

TEST_P(GpuVisionStartTest, TheTowerRunsOnTheCpuAndTheCauseIsTold) {
  GetParam().provoke(fake_);
  const GoldenCase c = CaseNamed("robust_video");
  Session session(TinyModel(), WithTower());
  EXPECT_THAT(session.gpu_report(),
              AllOf(HasSubstr("the vision tower on the CPU: "), HasSubstr(GetParam().cause)));
  EXPECT_EQ(Run(session, c, 4).ids, Greedy(c, 4));
  EXPECT_EQ(session.attention_paths(), "cpu_tiled");
}

INSTANTIATE_TEST_SUITE_P(Faults, GpuVisionStartTest, testing::ValuesIn(test::StartFaults()), test::NameOf);

TEST_F(GpuVisionTest, WithoutADriver) {
  const ModelFiles& files = TinyModel().impl()->files;
  SessionOptions options = WithTower(2);
  const GpuRequest request{.config = &files.config.text,
                           .weights = &files.text,
                           .vision = &*files.config.vision,
                           .vision_weights = &files.vision,
                           .max_patches = 512,
                           .kv = {.n_layers = 2, .n_kv_heads = 8, .head_dim = 128, .capacity = 64},
                           .options = &options};
  const GpuCode code{test::StandInDeviceCode(), test::StandInDeviceCode()};
  EXPECT_EQ(
      ChooseGpu(request, "libqwen3vl_no_such_driver.so.1", code).report,
      "all layers and the vision tower on the CPU: no NVIDIA driver (libqwen3vl_no_such_driver.so.1 not "
      "found)");
}

struct EncodeFault {
  const char* name;
  const char* fault;
  const char* cause;
  const char* then;  // what the warning says of later pictures
};

void PrintTo(const EncodeFault& f, std::ostream* os) { *os << f.name; }

class GpuVisionEncodeTest : public GpuVisionTest, public testing::WithParamInterface<EncodeFault> {};

// The device fails when the first block is done. The clip is encoded again on the CPU.
TEST_P(GpuVisionEncodeTest, ThePictureIsEncodedAgainAndTheCauseIsToldOnce) {
  const GoldenCase c = CaseNamed("robust_video");
  SessionOptions options = WithTower();
  bool failed = false;
  options.progress = [&](const Progress& p) {
    if (p.phase == Phase::kEncode && p.done == 1 && !std::exchange(failed, true))
      fake_.Fault(GetParam().fault);
    if (p.phase == Phase::kPrefill) fake_.Fault("");
    return true;
  };
  Session session(TinyModel(), options);
  ASSERT_THAT(session.gpu_report(), HasSubstr("the vision tower on NVIDIA"));
  EXPECT_EQ(Run(session, c, 4).ids, Greedy(c, 4));
  EXPECT_TRUE(failed);
  ASSERT_EQ(warnings_.size(), 1u) << testing::PrintToString(warnings_);
  EXPECT_THAT(warnings_[0],
              AllOf(HasSubstr("gpu vision: "), HasSubstr(GetParam().cause), HasSubstr(GetParam().then)));
  session.Reset();
  EXPECT_EQ(Run(session, c, 4).ids, Greedy(c, 4));
  EXPECT_EQ(warnings_.size(), 1u);
}

constexpr const char* kFromNowOn = "; pictures are encoded on the CPU from now on";

INSTANTIATE_TEST_SUITE_P(Faults, GpuVisionEncodeTest,
                         testing::Values(EncodeFault{"Launch", "launch", "CUDA error 719", kFromNowOn},
                                         EncodeFault{"LaunchMemory", "launch_memory",
                                                     "CUDA_ERROR_OUT_OF_MEMORY",
                                                     "; this picture is encoded on the CPU"},
                                         EncodeFault{"DeviceGone", "run", "CUDA error 700", kFromNowOn},
                                         EncodeFault{"Download", "download", "cuMemcpyDtoH", kFromNowOn}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

// No room for a picture that is larger than what was taken for; the next, smaller one goes to the device
// again.
TEST_F(GpuVisionTest, APictureThatDoesNotFitIsEncodedOnTheCpu) {
  const GoldenCase c = CaseNamed("robust_video");
  SessionOptions options = WithTower();
  options.max_image_tokens = 4;  // which do not bound clips: 48 patches come
  Session session(TinyModel(), options);
  fake_.Fault("memory");
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_EQ(session.attention_paths().substr(0, 10), "cpu_tiled ");
  ASSERT_EQ(warnings_.size(), 1u) << testing::PrintToString(warnings_);
  EXPECT_THAT(warnings_[0], AllOf(HasSubstr("cuMemAlloc"), HasSubstr("this picture is encoded on the CPU")));
  fake_.Fault("");
  session.Reset();
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_THAT(session.attention_paths(), HasSubstr("cuda_tiled"));
  EXPECT_EQ(warnings_.size(), 1u);
}

// The tower fails, then the layers: each is told.
TEST_F(GpuVisionTest, TowerAndLayersFailWithAWarningEach) {
  const GoldenCase c = CaseNamed("robust_video");
  Session session(TinyModel(), WithTower(2));
  attention::SetFaults("launch");
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  attention::SetFaults("");
  ASSERT_EQ(warnings_.size(), 2u) << testing::PrintToString(warnings_);
  EXPECT_THAT(warnings_[0], HasSubstr("gpu vision: kernel launch failed (asked for by"));
  EXPECT_THAT(warnings_[1], HasSubstr("gpu: kernel launch failed (asked for by"));
}

TEST_F(GpuVisionTest, CancellingStopsBetweenBlocks) {
  const GoldenCase c = CaseNamed("robust_video");
  SessionOptions options = WithTower();
  bool go_on = false;
  size_t blocks = 0;
  options.progress = [&](const Progress& p) {
    if (p.phase == Phase::kEncode) blocks = p.done;
    return go_on || p.phase != Phase::kEncode || p.done == 0;
  };
  Session session(TinyModel(), options);
  EXPECT_EQ(Run(session, c, 2).finish, FinishReason::kCancelled);
  EXPECT_EQ(blocks, 1u);
  go_on = true;
  EXPECT_EQ(Run(session, c, 2).ids, Greedy(c, 2));
  EXPECT_THAT(warnings_, IsEmpty());
}

}  // namespace
}  // namespace qwen3vl
