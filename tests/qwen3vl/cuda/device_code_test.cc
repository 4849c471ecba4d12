// SPDX-License-Identifier: Apache-2.0
// The PTX text of decoder layers inside the library: what it promises to drivers and devices, and what the
// host counts on.

#include "qwen3vl/cuda/device_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "attention/cuda/attention_cuda.h"
#include "cuda/emulated_kernels.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kMaxSharedBytes = 48 * 1024;  // of a block, on every compute capability from 6.1 on

struct CodeTable {
  const char* name;
  std::span<const hw::DeviceCode> code;
  size_t n_modules;
};

void PrintTo(const CodeTable& table, std::ostream* os) { *os << table.name; }

class DeviceCodeTest : public testing::TestWithParam<CodeTable> {
 protected:
  void SetUp() override {
    if (code().empty()) GTEST_SKIP() << "device code: " << attention::DescribeDeviceCode();
  }
  static std::span<const hw::DeviceCode> code() { return GetParam().code; }
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

TEST_P(DeviceCodeTest, EveryModuleIsThereOnceForEachComputeCapability) {
  std::set<unsigned> computes;
  std::set<std::string> modules;
  for (const hw::DeviceCode& c : code()) {
    computes.insert(c.compute);
    EXPECT_TRUE(modules.insert(NameOf(c)).second) << NameOf(c) << " twice";
  }
  EXPECT_EQ(modules.size(), computes.size() * GetParam().n_modules);
}

TEST_P(DeviceCodeTest, EntryPointsAreTheKernelsThatTheEmulatorTests) {
  for (const hw::DeviceCode& c : code()) {
    SCOPED_TRACE(NameOf(c));
    std::set<std::string> wanted;
    for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels())
      if (kernel.module == c.module && (c.compute != 75 || !kernel.name.ends_with("tile128")))
        wanted.insert(kernel.name);
    EXPECT_EQ(EntryPoints(c.ptx), wanted);
  }
}

TEST_P(DeviceCodeTest, TargetsAreWhatTheTableSays) {
  for (const hw::DeviceCode& c : code())
    EXPECT_THAT(c.ptx, HasSubstr(".target sm_" + std::to_string(c.compute))) << NameOf(c);
}

// PTX 6.0 is what drivers from 2017 on take; nvcc writes its own, newer version.
TEST_P(DeviceCodeTest, ClangCodeFor61IsPtx60) {
  if (attention::DescribeDeviceCode().find("6.1 (clang") == std::string_view::npos)
    GTEST_SKIP() << "device code: " << attention::DescribeDeviceCode();
  for (const hw::DeviceCode& c : code()) {
    if (c.compute != 61) continue;
    EXPECT_THAT(c.ptx, HasSubstr(".version 6.0\n")) << NameOf(c);
  }
}

TEST_P(DeviceCodeTest, KeepsEverythingInRegistersAndSharedMemory) {
  std::map<std::string, size_t> parameter_bytes;
  for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels())
    parameter_bytes[kernel.name] = kernel.parameter_bytes;
  for (const hw::DeviceCode& c : code()) {
    SCOPED_TRACE(NameOf(c));
    const std::string ptx = c.ptx;
    EXPECT_THAT(ptx, Not(HasSubstr(".local")));
    EXPECT_THAT(ptx, Not(HasSubstr(".extern")));
    EXPECT_THAT(ptx, Not(HasSubstr("call")));
    EXPECT_THAT(ptx, Not(HasSubstr(".f64")));
    const std::regex shared(R"(\.shared[^;\n]*\[(\d+)\])");
    for (std::sregex_iterator i(ptx.begin(), ptx.end(), shared), end; i != end; ++i)
      EXPECT_LE(std::stoul((*i)[1]), kMaxSharedBytes);
    const std::regex parameter(R"(\.param[^\n]* (\w+)_param_0\[(\d+)\])");
    for (std::sregex_iterator i(ptx.begin(), ptx.end(), parameter), end; i != end; ++i)
      EXPECT_EQ(std::stoul((*i)[2]), parameter_bytes[(*i)[1]]) << (*i)[1];
  }
}

// ptxas has no compute capability 6.1 any more from CUDA 13 on; 7.5 stands in for it, with the same number of
// registers and nearly the same arithmetic.
TEST_P(DeviceCodeTest, AssemblesWithoutSpills) {
  const std::string ptxas = QWEN3VL_PTXAS;
  if (ptxas.empty()) GTEST_SKIP() << "no ptxas here";
  const test::TempDir dir;
  for (const hw::DeviceCode& c : code()) {
    SCOPED_TRACE(NameOf(c));
    const std::string file = dir.Write("code.ptx", c.ptx);
    FILE* pipe = popen((ptxas + " -arch=sm_75 -v " + file + " -o " + file + ".cubin 2>&1").c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string said;
    for (int letter; (letter = std::fgetc(pipe)) != EOF;) said += static_cast<char>(letter);
    ASSERT_EQ(pclose(pipe), 0) << said;
    const std::regex spills(R"((\d+) bytes spill stores, (\d+) bytes spill loads)");
    size_t functions = 0;
    for (std::sregex_iterator i(said.begin(), said.end(), spills), end; i != end; ++i, ++functions) {
      EXPECT_EQ((*i)[1], "0") << said;
      EXPECT_EQ((*i)[2], "0") << said;
    }
    EXPECT_EQ(functions, EntryPoints(c.ptx).size()) << said;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, DeviceCodeTest,
                         testing::Values(CodeTable{"Layers", EmbeddedDeviceCode(), 8}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace qwen3vl
