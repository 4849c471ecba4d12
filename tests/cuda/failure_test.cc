// SPDX-License-Identifier: Apache-2.0
// Everything that can go wrong with driver and device, provoked on the stand-in driver: each is reported with
// its cause, and the call falls to the CPU with the right result.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/device_code.h"
#include "attention/fault.h"
#include "cuda/fake_device.h"
#include "support/near.h"

namespace qwen3vl::attention {
namespace {

using test::AttentionTensors;
using test::CudaResult;
using test::RunOnCuda;
using testing::AllOf;
using testing::HasSubstr;

const test::AttentionCase kCase{.name = "", .shape = {1, 12, 40, 4, 2, 64}, .causal = true};

class CudaFailureTest : public testing::Test {
 protected:
  CudaResult RunCase(CudaAttention& device) { return RunOnCuda(device, t_.inputs()); }
  CudaResult RunOnce(const std::string& driver = test::FakeDriver()) {
    CudaAttention device(driver, test::StandInDeviceCode());
    return RunCase(device);
  }
  void ExpectRight(const CudaResult& r) {
    EXPECT_EQ(r.outcome.cause, FallbackCause::kNone) << r.outcome.sentence;
    EXPECT_LE(test::RelativeError(r.out, Reference(t_, t_.k, t_.v).out), test::kFloatTolerance);
  }
  void ExpectFailure(const CudaResult& r, FallbackCause cause,
                     const testing::Matcher<std::string>& sentence) {
    EXPECT_EQ(r.outcome.cause, cause);
    EXPECT_THAT(r.outcome.sentence, sentence);
    for (float x : r.out) EXPECT_TRUE(std::isnan(x)) << "a path that fails leaves the output alone";
  }

  test::FakeCuda fake_;
  AttentionTensors t_{kCase};
};

TEST_F(CudaFailureTest, NoDriver) {
  ExpectFailure(RunOnce("libqwen3vl_no_such_driver.so.1"), FallbackCause::kDevice,
                HasSubstr("cuda: no NVIDIA driver"));
}

TEST_F(CudaFailureTest, NoDevice) {
  fake_.Device("none");
  ExpectFailure(RunOnce(), FallbackCause::kDevice, HasSubstr("driver present, no device"));
}

TEST_F(CudaFailureTest, DriverThatDoesNotStart) {
  fake_.Device("broken");
  ExpectFailure(RunOnce(), FallbackCause::kDevice, HasSubstr("does not start (CUDA error 999)"));
}

TEST_F(CudaFailureTest, DriverWithoutAFunctionIsTooOld) {
  ExpectFailure(RunOnce(QWEN3VL_FAKE_CUDA_LIST_ONLY), FallbackCause::kDevice,
                AllOf(HasSubstr("too old"), HasSubstr("cuDevicePrimaryCtxRetain")));
}

TEST_F(CudaFailureTest, ComputeCapabilityBelow61) {
  fake_.Device("maxwell");
  ExpectFailure(RunOnce(), FallbackCause::kDevice,
                HasSubstr("GTX 960M has compute capability 5.0, want 6.1 or higher"));
}

TEST_F(CudaFailureTest, NoDeviceCode) {
  CudaAttention device(test::FakeDriver(), {});
  ExpectFailure(RunCase(device), FallbackCause::kDevice, HasSubstr("no device code"));
}

TEST_F(CudaFailureTest, DamagedDeviceCode) {
  std::vector<hw::DeviceCode> code(test::StandInDeviceCode().begin(), test::StandInDeviceCode().end());
  for (hw::DeviceCode& c : code) c.gzip.remove_suffix(1);
  CudaAttention device(test::FakeDriver(), code);
  ExpectFailure(RunCase(device), FallbackCause::kDevice,
                HasSubstr("device code attention_64_F32 in this program is damaged"));
}

TEST_F(CudaFailureTest, CompilerOfTheDriverFails) {
  fake_.Fault("jit");
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  ExpectFailure(RunCase(device), FallbackCause::kDevice,
                AllOf(HasSubstr("CUDA error 218"), HasSubstr("[ptxas fatal : stand-in refuses]")));
  // It would fail again, after seconds of compiling: not tried again.
  fake_.Fault("");
  ExpectFailure(RunCase(device), FallbackCause::kDevice, HasSubstr("CUDA error 218"));
}

// A driver older than the toolkit that made the newer code still runs the older one.
TEST_F(CudaFailureTest, OlderCodeWhereTheDriverRefusesTheNewer) {
  fake_.Device("ampere");
  fake_.Fault("jit75");
  const CudaResult r = RunOnce();
  ExpectRight(r);
  EXPECT_EQ(r.tile, 256u);
}

TEST_F(CudaFailureTest, ForcedTileIsTakenFromTheCodeThatHasIt) {
  fake_.Device("ampere");
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  Options options;
  options.plan.tile = 64;
  options.plan.forced = true;
  const CudaResult r = RunOnCuda(device, t_.inputs(), options);
  ExpectRight(r);
  EXPECT_EQ(r.tile, 128u);
}

TEST_F(CudaFailureTest, NoDeviceMemoryForTheCode) {
  fake_.Fault("load_memory");
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  ExpectFailure(RunCase(device), FallbackCause::kMemory, HasSubstr("cuModuleLoadDataEx: CUDA error 2"));
  fake_.Fault("");
  ExpectRight(RunCase(device));  // another program may have given some back
}

TEST_F(CudaFailureTest, NoDeviceMemoryInTheMiddle) {
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  ExpectRight(RunCase(device));
  const test::AttentionCase larger{.name = "", .shape = {1, 12, 80, 4, 2, 64}, .causal = true};
  const AttentionTensors t(larger);
  fake_.Fault("memory");
  ExpectFailure(
      RunOnCuda(device, t.inputs()), FallbackCause::kMemory,
      AllOf(HasSubstr("cuMemAlloc of"), HasSubstr("4096 free"), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY")));
  fake_.Fault("");
  ExpectRight(RunCase(device));
}

struct DeviceFault {
  const char* name;
  const char* sentence;
};

class CudaDeviceLossTest : public CudaFailureTest, public testing::WithParamInterface<DeviceFault> {};

// In the middle of an answer; the device is not used again.
TEST_P(CudaDeviceLossTest, IsReportedAndLasts) {
  const auto contexts = test::FakeFunction<unsigned()>("FakeCudaContexts");
  const unsigned before = contexts();
  CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
  ExpectRight(RunCase(device));
  EXPECT_EQ(contexts(), before + 1);
  fake_.Fault(GetParam().name);
  ExpectFailure(RunCase(device), FallbackCause::kDevice, HasSubstr(GetParam().sentence));
  EXPECT_EQ(contexts(), before);  // a broken one is let go of
  fake_.Fault("");
  ExpectFailure(RunCase(device), FallbackCause::kDevice, HasSubstr(GetParam().sentence));
}

INSTANTIATE_TEST_SUITE_P(
    Faults, CudaDeviceLossTest,
    testing::Values(DeviceFault{"launch", "launch of attention_prefill_64_F32: CUDA error 719"},
                    DeviceFault{"run", "run of attention_64_F32: CUDA error 700"},
                    DeviceFault{"upload", "cuMemcpyHtoD of"}, DeviceFault{"download", "cuMemcpyDtoH of"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// Through Attend, which finds the stand-in as libcuda.so.1 because it is loaded under that name already.
TEST_F(CudaFailureTest, AttendFallsToTheCpuAndSaysWhy) {
  if (EmbeddedDeviceCode().empty()) GTEST_SKIP() << "device code: " << DescribeDeviceCode();
  ASSERT_NE(dlopen(test::FakeDriver().c_str(), RTLD_NOW), nullptr) << dlerror();
  std::vector<float> found(t_.q.size());
  Outputs out;
  out.out = found.data();
  Options options;
  options.request = PathRequest::kCuda;
  Workspace workspace;
  const auto run = [&](Path path, FallbackCause cause) {
    std::ranges::fill(found, NAN);
    const AttentionReport report = Attend(t_.inputs(), out, options, workspace);
    EXPECT_EQ(report.used, path) << report.sentence;
    EXPECT_EQ(report.cause, cause) << report.sentence;
    EXPECT_LE(test::RelativeError(found, Reference(t_, t_.k, t_.v).out), test::kFloatTolerance);
  };
  run(Path::kCudaTiled, FallbackCause::kNone);
  fake_.Fault("launch");
  run(Path::kCpuTiled, FallbackCause::kDevice);
  options.request = PathRequest::kAuto;
  run(Path::kCpuTiled, FallbackCause::kNone);
}

class CudaFaultHookTest : public testing::TestWithParam<std::pair<const char*, FallbackCause>> {};

TEST_P(CudaFaultHookTest, ProvokesTheFallback) {
  const AttentionTensors t(kCase);
  std::vector<float> found(t.q.size());
  Outputs out;
  out.out = found.data();
  Options options;
  options.request = PathRequest::kCuda;
  Workspace workspace;
  SetFaults(GetParam().first);
  const AttentionReport report = Attend(t.inputs(), out, options, workspace);
  SetFaults("");
  EXPECT_NE(report.used, Path::kCudaTiled);
  EXPECT_EQ(report.cause, GetParam().second);
  EXPECT_LE(test::RelativeError(found, Reference(t, t.k, t.v).out), test::kFloatTolerance);
}

INSTANTIATE_TEST_SUITE_P(Hooks, CudaFaultHookTest,
                         testing::Values(std::pair{"device", FallbackCause::kDevice},
                                         std::pair{"launch", FallbackCause::kDevice},
                                         std::pair{"alloc", FallbackCause::kMemory}),
                         [](const auto& param_info) { return std::string(param_info.param.first); });

}  // namespace
}  // namespace qwen3vl::attention
