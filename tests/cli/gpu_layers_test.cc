// SPDX-License-Identifier: Apache-2.0
// --gpu-layers of the real executable: without a driver, and with the stand-in for it, whose kernels run on
// the tests' block emulator.
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
  for (const char* n : {"4", "auto"}) {
    const Outcome o = Answer({"--gpu-layers", n});
    EXPECT_EQ(o.exit_code, 0) << o;
    EXPECT_THAT(o.err, HasSubstr("gpu: all layers on the CPU: driver present, no device"));
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
  EXPECT_EQ(bytes("auto"), bytes("4"));
}

TEST(GpuLayers, WantANumberOrAuto) {
  const Outcome o = Answer({"--gpu-layers", "many"});
  EXPECT_EQ(o.exit_code, 2) << o;
  EXPECT_THAT(o.err, HasSubstr("'many', want a whole number, or auto"));
}

}  // namespace
}  // namespace qwen3vl::test
