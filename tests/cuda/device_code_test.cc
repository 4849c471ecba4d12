// SPDX-License-Identifier: Apache-2.0
// The PTX text inside the library: what it promises to drivers and devices, and what the host counts on.
#include "attention/cuda/device_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <regex>
#include <set>
#include <string>
#include <tuple>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/attention_params.h"
#include "cuda/emulated_kernels.h"
#include "support/temp_dir.h"

namespace qwen3vl::attention {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kMaxSharedBytes = 48 * 1024;  // of a block, on every compute capability from 6.1 on

class DeviceCodeTest : public testing::Test {
 protected:
  void SetUp() override {
    if (EmbeddedDeviceCode().empty()) GTEST_SKIP() << "device code: " << DescribeDeviceCode();
  }
};

std::string NameOf(const hw::DeviceCode& code) {
  return std::string(code.module) + " for compute capability " + std::to_string(code.compute);
}

std::set<std::string> EntryPoints(const std::string& ptx) {
  std::set<std::string> names;
  const std::regex entry(R"(\.entry\s+(\w+)\()");
  for (std::sregex_iterator i(ptx.begin(), ptx.end(), entry), end; i != end; ++i) names.insert((*i)[1]);
  return names;
}

TEST_F(DeviceCodeTest, EveryModuleIsThereOnceForEachComputeCapability) {
  std::set<unsigned> computes;
  std::set<std::string> modules;
  for (const hw::DeviceCode& code : EmbeddedDeviceCode()) {
    computes.insert(code.compute);
    EXPECT_TRUE(modules.insert(NameOf(code)).second) << NameOf(code) << " twice";
  }
  EXPECT_EQ(modules.size(), computes.size() * 20);
}

TEST_F(DeviceCodeTest, EntryPointsAreTheKernelsThatTheEmulatorTests) {
  for (const hw::DeviceCode& code : EmbeddedDeviceCode()) {
    SCOPED_TRACE(NameOf(code));
    std::set<std::string> wanted;
    for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels())
      if (kernel.module == code.module && (code.compute != 75 || !kernel.name.ends_with("tile128")))
        wanted.insert(kernel.name);
    EXPECT_EQ(EntryPoints(code.ptx), wanted);
  }
}

TEST_F(DeviceCodeTest, TargetsAreWhatTheTableSays) {
  for (const hw::DeviceCode& code : EmbeddedDeviceCode())
    EXPECT_THAT(code.ptx, HasSubstr(".target sm_" + std::to_string(code.compute))) << NameOf(code);
}

// PTX 6.0 is what drivers from 2017 on take; nvcc writes its own, newer version.
TEST_F(DeviceCodeTest, ClangCodeFor61IsPtx60) {
  if (DescribeDeviceCode().find("6.1 (clang") == std::string_view::npos)
    GTEST_SKIP() << "device code: " << DescribeDeviceCode();
  for (const hw::DeviceCode& code : EmbeddedDeviceCode()) {
    if (code.compute != 61) continue;
    EXPECT_THAT(code.ptx, HasSubstr(".version 6.0\n")) << NameOf(code);
  }
}

TEST_F(DeviceCodeTest, KeepsEverythingInRegistersAndSharedMemory) {
  for (const hw::DeviceCode& code : EmbeddedDeviceCode()) {
    SCOPED_TRACE(NameOf(code));
    const std::string ptx = code.ptx;
    EXPECT_THAT(ptx, Not(HasSubstr(".local")));
    EXPECT_THAT(ptx, Not(HasSubstr(".extern")));
    EXPECT_THAT(ptx, Not(HasSubstr("call")));
    EXPECT_THAT(ptx, Not(HasSubstr(".f64")));
    const std::regex shared(R"(\.shared[^;\n]*\[(\d+)\])");
    for (std::sregex_iterator i(ptx.begin(), ptx.end(), shared), end; i != end; ++i)
      EXPECT_LE(std::stoul((*i)[1]), kMaxSharedBytes);
    const std::regex parameter(R"(\.param[^\n]*_param_0\[(\d+)\])");
    for (std::sregex_iterator i(ptx.begin(), ptx.end(), parameter), end; i != end; ++i)
      EXPECT_EQ(std::stoul((*i)[1]), sizeof(gpu::AttentionParams));
  }
}

// What a kernel's blocks may take of a multiprocessor of compute capability 6.1, which has 64 K registers and
// 96 KB of shared memory: as many blocks of it have to fit as its launch bounds promise.
struct Limits {
  const char* kind;
  size_t threads, blocks;
};
constexpr Limits kLimits[] = {
    {"_tile128", 128, 2}, {"_tile256", 256, 1}, {"decode", 128, 3}, {"merge", 128, 8}};

void ExpectToFit(const std::string& name, size_t registers, size_t shared_bytes) {
  const auto limits =
      std::ranges::find_if(kLimits, [&](const Limits& l) { return name.find(l.kind) != std::string::npos; });
  ASSERT_NE(limits, std::end(kLimits)) << name;
  const size_t granted = (registers + 7) / 8 * 8;
  EXPECT_LE(granted * limits->threads * limits->blocks, size_t{64} << 10)
      << name << ", registers " << registers;
  EXPECT_LE(shared_bytes * limits->blocks, size_t{96} << 10) << name << ", bytes " << shared_bytes;
}

// ptxas has no compute capability 6.1 any more from CUDA 13 on; 7.5 stands in for it, with the same number of
// registers and nearly the same arithmetic.
class DeviceCodeAssemblyTest : public DeviceCodeTest,
                               public testing::WithParamInterface<std::tuple<unsigned, unsigned>> {};

TEST_P(DeviceCodeAssemblyTest, NeedsNoSpillsAndFitsTheMultiprocessor) {
  const std::string ptxas = QWEN3VL_PTXAS;
  if (ptxas.empty()) GTEST_SKIP() << "no ptxas here: registers, shared memory and spills are not checked";
  const auto [compute, head_dim] = GetParam();
  const std::string prefix = "attention_" + std::to_string(head_dim) + "_";
  const test::TempDir dir;
  for (const hw::DeviceCode& code : EmbeddedDeviceCode()) {
    if (code.compute != compute || !std::string(code.module).starts_with(prefix)) continue;
    SCOPED_TRACE(NameOf(code));
    const std::string file = dir.Write("code.ptx", code.ptx);
    FILE* pipe = popen((ptxas + " -arch=sm_75 -v " + file + " -o " + file + ".cubin 2>&1").c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string said;
    for (int c; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
    ASSERT_EQ(pclose(pipe), 0) << said;
    const std::regex properties(
        R"(properties for (\w+)\s+\d+ bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)"
        R"([^\n]*\n[^\n]*Used (\d+) registers([^\n]*))");
    const std::regex shared(R"((\d+) bytes smem)");
    size_t functions = 0;
    for (std::sregex_iterator i(said.begin(), said.end(), properties), end; i != end; ++i, ++functions) {
      EXPECT_EQ((*i)[2], "0") << said;
      EXPECT_EQ((*i)[3], "0") << said;
      const std::string rest = (*i)[5];
      std::smatch bytes;
      const bool any = std::regex_search(rest, bytes, shared);
      ExpectToFit((*i)[1], std::stoul((*i)[4]), any ? std::stoul(bytes[1]) : 0);
    }
    EXPECT_EQ(functions, EntryPoints(code.ptx).size()) << said;
  }
}

INSTANTIATE_TEST_SUITE_P(Modules, DeviceCodeAssemblyTest,
                         testing::Combine(testing::Values(61u, 75u), testing::Values(64u, 72u, 80u, 128u)),
                         [](const auto& param_info) {
                           return "Compute" + std::to_string(std::get<0>(param_info.param)) + "Head" +
                                  std::to_string(std::get<1>(param_info.param));
                         });

}  // namespace
}  // namespace qwen3vl::attention
