// SPDX-License-Identifier: Apache-2.0
// What the driver is left with by our calls: an app's own context stays current, memory goes back from any
// thread, and code is compiled once.
#include <gtest/gtest.h>

#include <thread>

#include "cuda/fake_device.h"
#include "hw/device_code.h"

namespace qwen3vl::hw {
namespace {

// An app on this thread with a context of its own.
class App {
 public:
  App() { test::FakeFunction<int(void*)>("cuCtxPushCurrent_v2")(&context_); }
  ~App() {
    void* popped = nullptr;
    test::FakeFunction<int(void**)>("cuCtxPopCurrent_v2")(&popped);
  }
  bool IsCurrent() const {
    void* current = nullptr;
    test::FakeFunction<int(void**)>("cuCtxGetCurrent")(&current);
    return current == &context_;
  }

 private:
  int context_ = 0;
};

class CudaDriverUseTest : public testing::TestWithParam<const char*> {};

TEST_P(CudaDriverUseTest, TheAppsContextIsCurrentAfterwards) {
  test::FakeCuda fake;
  const App app;
  {
    const test::AttentionCase one_token{.name = "", .shape = {1, 1, 40, 4, 2, 64}, .causal = true};
    const test::AttentionTensors t(one_token);
    attention::CudaAttention device(test::FakeDriver(), test::StandInDeviceCode());
    fake.Fault(GetParam());
    const test::CudaResult result = test::RunOnCuda(device, t.inputs());
    EXPECT_EQ(result.outcome.cause == attention::FallbackCause::kNone, std::string_view(GetParam()).empty())
        << result.outcome.sentence;
    EXPECT_TRUE(app.IsCurrent());
  }
  EXPECT_TRUE(app.IsCurrent());
}

INSTANTIATE_TEST_SUITE_P(Faults, CudaDriverUseTest,
                         testing::Values("", "jit", "load_memory", "memory", "upload", "launch", "run",
                                         "download"),
                         [](const auto& param_info) {
                           const std::string name = param_info.param;
                           return name.empty() ? "none" : name;
                         });

TEST(CudaDriverUse, MemoryIsGivenBackFromAnyThread) {
  test::FakeCuda fake;
  const CudaDevice device(test::FakeDriver());
  const size_t before = device.FreeBytes();
  auto buffer = std::make_unique<CudaBuffer>(device.context(), 4096);
  EXPECT_EQ(device.FreeBytes(), before - 4096);
  std::thread([&] { buffer.reset(); }).join();
  EXPECT_EQ(device.FreeBytes(), before);
}

TEST(CudaDriverUse, CodeIsCompiledOnceForADevice) {
  test::FakeCuda fake;
  const auto loads = test::FakeFunction<unsigned()>("FakeCudaModuleLoads");
  const std::string names[] = {"layer_rms_norm", "layer_quantize"};
  const auto load = [&](const CudaDevice& device, size_t n) {
    return LoadFunctions(device, test::StandInDeviceCode(), "layer", std::span(names).first(n));
  };
  const unsigned before = loads();
  const CudaDevice device(test::FakeDriver());
  const DeviceFunctions one = load(device, 1), two = load(device, 2);
  EXPECT_EQ(one.module, two.module);
  EXPECT_EQ(two.entries.size(), 2u);
  EXPECT_EQ(loads() - before, 1u);
  const CudaDevice another(test::FakeDriver());
  EXPECT_NE(load(another, 1).module, one.module);
}

}  // namespace
}  // namespace qwen3vl::hw
