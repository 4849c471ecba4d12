// SPDX-License-Identifier: Apache-2.0
// The cases of the block emulator on a real GPU: every version of the code that the build holds and the
// device runs, both tiles, both kinds of scores. Where there is no such device the program says so in one
// line and ends with 3.
#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

#include "attention/cuda/device_code.h"
#include "cuda/device/code_versions.h"
#include "cuda/device/named_driver.h"
#include "cuda/fake_device.h"
#include "cuda/kernel_cases.h"
#include "qwen3vl/error.h"
#include "support/near.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionCase;

// ex2.approx is off by 2^-22 at most, and so is a weight, and the sum it is divided by.
constexpr double kDeviceTolerance = test::kFloatTolerance + 2 * 0x1p-22;

// What this build holds for the device and its driver.
const std::vector<test::CodeVersion>& Versions() {
  static const std::vector<test::CodeVersion> versions =
      test::CodeVersions(hw::CudaDevice(test::NamedDriver()), EmbeddedDeviceCode());
  return versions;
}

class CudaDeviceTest : public testing::TestWithParam<AttentionCase> {};

TEST_P(CudaDeviceTest, MatchesFloat64) {
  const AttentionCase& c = GetParam();
  const test::AttentionTensors t(c);
  const test::AttentionReference ref = Reference(t, t.k, t.v);
  for (const test::CodeVersion& code : Versions()) {
    const unsigned compute = code.front().compute;
    // A device of its own, and with it memory of its own: a checker then sees what a case did not write.
    CudaAttention device(test::NamedDriver(), code);
    for (size_t tile : {128, 256}) {
      if (compute == 75 && tile == 128) continue;  // not made
      for (GpuScores scores : {GpuScores::kF32, GpuScores::kInt8}) {
        SCOPED_TRACE("code " + std::to_string(compute) + ", tile " + std::to_string(tile) +
                     (scores == GpuScores::kInt8 ? ", int8 scores" : ""));
        Options options;
        options.gpu_scores = scores;
        options.plan.tile = tile;
        options.plan.forced = true;
        const test::CudaResult r = test::RunOnCuda(device, t.inputs(), options);
        ASSERT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
        if (scores == GpuScores::kF32)
          test::ExpectReference(r, ref, kDeviceTolerance);
        else
          EXPECT_LE(test::RelativeError(r.out, ref.out), test::Int8Tolerance(c));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, CudaDeviceTest, testing::ValuesIn(test::SupportedCases()),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace

// What the program ends with.
int RunDeviceTests() {
  std::string why;
  try {
    const hw::GpuInfo gpu = hw::CudaDevice(test::NamedDriver()).info();
    std::printf("%s, compute capability %d.%d\n", gpu.name.c_str(), gpu.compute_major, gpu.compute_minor);
    if (Versions().empty()) why = "this build has no device code that it takes";
  } catch (const Error& e) {
    why = e.what();
  }
  if (why.empty()) return RUN_ALL_TESTS();
  std::printf("cuda_device_test: %s; nothing was tested\n", why.c_str());
  return 3;
}

}  // namespace qwen3vl::attention

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return qwen3vl::attention::RunDeviceTests();
}
