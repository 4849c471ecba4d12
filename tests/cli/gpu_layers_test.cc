// SPDX-License-Identifier: Apache-2.0
// --gpu-layers and --gpu-vision of the real executable: without a driver, and with the stand-in for it, whose
// kernels run on the tests' block emulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"

namespace qwen3vl::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Outcome Answer(std::vector<std::string> more) {
  std::vector<std::string> words = {"run",   "-m",     QWEN3VL_SOURCE_DIR "/models/demo",
                                    "-p",    "Hi",     "-n",
                                    "3",     "--temp", "0",
                                    "--ctx", "64",     "--threads",
                                    "1"};
  words.insert(words.end(), more.begin(), more.end());
  return RunCommand(words);
}

bool HasDeviceCode() { return RunCommand({"probe"}).out.find("gpu code      none") == std::string::npos; }

TEST(GpuLayers, AreNotMentionedUnlessAskedFor) {
  const Outcome o = Answer({});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_THAT(o.err, Not(HasSubstr("gpu")));
  EXPECT_THAT(o.err, Not(HasSubstr("GPU")));
}

TEST(GpuLayers, WithoutADriverSayWhyAndAnswer) {
  if (!HasDeviceCode()) GTEST_SKIP() << "no device code in this build";
  const DriverFolder driver(QWEN3VL_FAKE_DRIVER_FOLDER);
  setenv("FAKE_CUDA", "none", 1);
  for (const auto& [n, what] : {std::pair{"4", "all layers"}, {"auto", "all layers and the vision tower"}}) {
    const Outcome o = Answer({"--gpu-layers", n});
    EXPECT_EQ(o.exit_code, 0) << o;
    EXPECT_THAT(o.err, HasSubstr("gpu: " + std::string(what) + " on the CPU: driver present, no device"));
    EXPECT_EQ(o.out, Answer({}).out);
  }
  unsetenv("FAKE_CUDA");
}

TEST(GpuLayers, GiveTheSameAnswer) {
  if (!HasDeviceCode()) GTEST_SKIP() << "no device code in this build";
  const std::string alone = Answer({}).out;
  const DriverFolder driver(QWEN3VL_FAKE_DRIVER_FOLDER);
  const Outcome o = Answer({"--gpu-layers", "1"});
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, alone);
  EXPECT_THAT(o.err, AllOf(HasSubstr("gpu: 1 of 4 layers on NVIDIA GeForce GTX 1050"), HasSubstr("on a GPU"),
                           HasSubstr("cuda_tiled")));
}

TEST(GpuLayers, ShowTheTileOfTheGpu) {
  if (!HasDeviceCode()) GTEST_SKIP() << "no device code in this build";
  const DriverFolder driver(QWEN3VL_FAKE_DRIVER_FOLDER);
  const auto result = OutJson(Answer({"--gpu-layers", "4", "--json"}));
  EXPECT_EQ(result["attention"], "cuda_tiled");
  EXPECT_EQ(result["tile"], 128);
  EXPECT_THAT(result["tile_reason"].get<std::string>(), HasSubstr("GTX 1050: prescribed 128"));
  const auto both = OutJson(Answer({"--gpu-layers", "1", "--tile", "16", "--json"}));
  EXPECT_EQ(both["tile"], 16);
  EXPECT_THAT(both["tile_reason"].get<std::string>(),
              AllOf(HasSubstr("cpu_tiled 16: tile 16 as asked"), HasSubstr("; cuda_tiled 128: ")));
}

TEST(GpuVision, GivesTheSameAnswer) {
  if (!HasDeviceCode()) GTEST_SKIP() << "no device code in this build";
  const std::vector<std::string> picture = {"--image", QWEN3VL_SOURCE_DIR "/examples/picture.jpg",
                                            "--max-image-tokens", "16"};
  const std::string alone = Answer(picture).out;
  const DriverFolder driver(QWEN3VL_FAKE_DRIVER_FOLDER);
  std::vector<std::string> words = picture;
  words.insert(words.end(), {"--gpu-vision", "on"});
  const Outcome o = Answer(words);
  ASSERT_EQ(o.exit_code, 0) << o;
  EXPECT_EQ(o.out, alone);
  EXPECT_THAT(o.err, AllOf(HasSubstr("gpu: the vision tower on NVIDIA GeForce GTX 1050"),
                           HasSubstr("on a GPU"), HasSubstr("cuda_tiled")));
}

TEST(GpuVision, CountsInTheMemoryThatInspectShows) {
  const auto bytes = [&](const std::string& vision, const std::string& layers, const std::string& size) {
    return OutJson(RunCommand({"inspect", QWEN3VL_SOURCE_DIR "/models/demo", "--gpu-vision", vision,
                               "--gpu-layers", layers, "--image-size", size, "--max-image-tokens", "4096",
                               "--json"}))["memory"]["gpu_bytes"]
        .get<size_t>();
  };
  const size_t tower = bytes("on", "0", "512x512");
  EXPECT_GT(tower, 0u);
  EXPECT_EQ(bytes("off", "0", "512x512"), 0u);
  EXPECT_EQ(bytes("auto", "2", "512x512"), bytes("off", "2", "512x512"));
  EXPECT_EQ(bytes("auto", "auto", "512x512"), bytes("off", "auto", "512x512") + tower);
  EXPECT_GT(bytes("on", "0", "4096x4096"), tower);  // more than there is room for from the start
}

TEST(GpuVision, WantsOnOffOrAuto) {
  const Outcome o = Answer({"--gpu-vision", "yes"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("'yes', want on, off or auto"));
}

TEST(GpuLayers, CountInTheMemoryThatInspectShows) {
  const std::vector<std::string> words = {"inspect", QWEN3VL_SOURCE_DIR "/models/demo", "--ctx", "1024"};
  EXPECT_THAT(RunCommand(words).out, Not(HasSubstr("GPU")));
  const auto bytes = [&](const std::string& layers) {
    std::vector<std::string> with = words;
    with.insert(with.end(), {"--gpu-layers", layers, "--json"});
    return OutJson(RunCommand(with))["memory"]["gpu_bytes"].get<size_t>();
  };
  // Weights of a layer in f16: q and o 1024 x 256, k and v 256 x 256, three of 256 x 256; keys and values of
  // 1024 tokens in f16.
  const size_t layer = (2 * 1024 * 256 + 5 * 256 * 256) * 2 + 2 * 1024 * 256 * 2;
  EXPECT_EQ(bytes("0"), 0u);
  EXPECT_NEAR(static_cast<double>(bytes("2") - bytes("1")), layer, layer * 0.01);
  const size_t output = 1024 * 256 * 2;  // follows the last layer
  EXPECT_NEAR(static_cast<double>(bytes("4") - bytes("3")), layer + output, layer * 0.01);
  EXPECT_GT(bytes("auto"), bytes("4"));  // by the vision tower
}

TEST(GpuLayers, WantANumberOrAuto) {
  const Outcome o = Answer({"--gpu-layers", "many"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("'many', want a whole number, or auto"));
}

}  // namespace
}  // namespace qwen3vl::test
