// SPDX-License-Identifier: Apache-2.0
// A recorded model in sessions that ask for the stand-in GPU.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cuda/fake_driver.h"
#include "qwen3vl/cuda/device_code.h"
#include "qwen3vl/model.h"
#include "qwen3vl/qwen3vl.h"
#include "support/golden_model.h"

namespace qwen3vl::test {

inline const Model& TinyModel() {
  static const Model model = Model::Load(DataPath("models/tiny-b"));
  return model;
}

// Of TinyModel().
inline GoldenCase CaseNamed(const std::string& name) { return CaseNamed("tiny-b", name); }

// A device that does not take what it is given, from the start.
struct StartFault {
  const char* name;
  std::function<void(FakeCuda&)> provoke;
  const char* cause;
};

inline void PrintTo(const StartFault& f, std::ostream* os) { *os << f.name; }
inline std::string NameOf(const testing::TestParamInfo<StartFault>& fault) { return fault.param.name; }

inline std::vector<StartFault> StartFaults() {
  return {{"NoDevice", [](FakeCuda& f) { f.Device("none"); }, "driver present, no device"},
          {"Compiler", [](FakeCuda& f) { f.Fault("jit"); }, "CUDA error 218"},
          {"MemoryForCode", [](FakeCuda& f) { f.Fault("load_memory"); }, "cuModuleLoadDataEx"},
          {"Memory",
           [](FakeCuda& f) {
             f.Fault("memory");
             f.FreeMebibytes("2000");  // taken by another program a moment later
           },
           "cuMemAlloc"},
          {"Upload", [](FakeCuda& f) { f.Fault("upload"); }, "cuMemcpyHtoD"}};
}

class GpuSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    if (EmbeddedDeviceCode().empty()) GTEST_SKIP() << "no device code in this build";
    // The library then finds the stand-in under the name of the real one.
    ASSERT_NE(dlopen(FakeDriver().c_str(), RTLD_NOW), nullptr) << dlerror();
  }

  SessionOptions Options(size_t layers) {
    return {.threads = 1,
            .context = 64,
            .kv_type = KvType::kF32,
            .gpu_layers = layers,
            .log = [this](LogLevel level, std::string_view line) {
              if (level == LogLevel::kWarning) warnings_.emplace_back(line);
            }};
  }

  static Reply Run(Session& session, const GoldenCase& c, size_t n_tokens) {
    const std::vector<int32_t> ids = c.entry["input_ids"];
    return session.Complete(ids, CasePictures(c), CaseClips(c), test::Greedy(n_tokens));
  }

  static std::vector<int32_t> Greedy(const GoldenCase& c, size_t n) {
    std::vector<int32_t> ids = c.entry["greedy_tokens"];
    ids.resize(n);
    return ids;
  }

  FakeCuda fake_;
  std::vector<std::string> warnings_;
};

}  // namespace qwen3vl::test
