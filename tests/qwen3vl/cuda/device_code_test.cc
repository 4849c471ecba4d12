// SPDX-License-Identifier: Apache-2.0
// The PTX text inside the library, of attention and of decoder layers: what it promises to drivers and
// devices, and what the host counts on.
#include "qwen3vl/cuda/device_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/attention_params.h"
#include "attention/cuda/device_code.h"
#include "cuda/emulated_kernels.h"
#include "qwen3vl/cuda/expert_params.h"
#include "support/temp_dir.h"

namespace qwen3vl {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kMaxSharedBytes = 48 * 1024;  // of a block, on every compute capability from 6.1 on

// The modules of a table whose names begin with `prefix`, for one compute capability.
struct CodeSet {
  const char* name;
  std::span<const hw::DeviceCode> table;
  std::string_view prefix;
  size_t n_modules;
  unsigned compute = 0;

  bool Has(const hw::DeviceCode& code) const {
    return code.compute == compute && std::string_view(code.module).starts_with(prefix);
  }
};

void PrintTo(const CodeSet& set, std::ostream* os) { *os << set.name; }

std::vector<CodeSet> CodeSets() {
  const auto attention = attention::EmbeddedDeviceCode();
  const CodeSet sets[] = {
      {"Head64", attention, "attention_64_", 6},         {"Head72", attention, "attention_72_", 4},
      {"Head80", attention, "attention_80_", 4},         {"Head128", attention, "attention_128_", 6},
      {"Layers", EmbeddedDeviceCode(), "layer", 1},      {"Vision", EmbeddedDeviceCode(), "vision", 1},
      {"Products", EmbeddedDeviceCode(), "product_", 8}, {"Routes", EmbeddedDeviceCode(), "route", 1},
      {"Experts", EmbeddedDeviceCode(), "experts_", 8}};
  std::vector<CodeSet> all;
  for (unsigned compute : {61u, 75u})
    for (CodeSet set : sets) {
      set.compute = compute;
      all.push_back(set);
    }
  return all;
}

// Without code nearly all tests of it are skipped: that must not happen unnoticed.
TEST(DeviceCodeTables, HoldCodeWhereThereIsACompiler) {
  if (std::string_view(QWEN3VL_DEVICE_COMPILERS).empty()) GTEST_SKIP() << "no compiler for device code here";
  EXPECT_FALSE(attention::EmbeddedDeviceCode().empty()) << attention::DescribeDeviceCode();
  EXPECT_FALSE(EmbeddedDeviceCode().empty()) << attention::DescribeDeviceCode();
}

TEST(DeviceCodeTables, EveryModuleIsCheckedBelow) {
  const std::vector<CodeSet> sets = CodeSets();
  for (const auto& table : {attention::EmbeddedDeviceCode(), EmbeddedDeviceCode()})
    for (const hw::DeviceCode& code : table)
      EXPECT_EQ(std::ranges::count_if(sets, [&](const CodeSet& set) { return set.Has(code); }), 1)
          << code.module << " for compute capability " << code.compute;
}

class DeviceCodeTest : public testing::TestWithParam<CodeSet> {
 protected:
  struct Module {
    std::string name, ptx;
  };

  void SetUp() override {
    for (const hw::DeviceCode& code : GetParam().table)
      if (GetParam().Has(code)) modules_.push_back({code.module, PtxText(code)});
    if (modules_.empty()) GTEST_SKIP() << "device code: " << attention::DescribeDeviceCode();
  }

  std::vector<Module> modules_;
};

std::set<std::string> EntryPoints(const std::string& ptx) {
  std::set<std::string> names;
  const std::regex entry(R"(\.entry\s+(\w+)\()");
  for (std::sregex_iterator i(ptx.begin(), ptx.end(), entry), end; i != end; ++i) names.insert((*i)[1]);
  return names;
}

TEST_P(DeviceCodeTest, EveryModuleIsThereOnce) {
  std::set<std::string> names;
  for (const Module& module : modules_) EXPECT_TRUE(names.insert(module.name).second) << module.name;
  EXPECT_EQ(names.size(), GetParam().n_modules);
}

TEST_P(DeviceCodeTest, EntryPointsAreTheKernelsThatTheEmulatorTests) {
  for (const Module& module : modules_) {
    std::set<std::string> wanted;
    for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels())
      if (kernel.module == module.name && (GetParam().compute != 75 || !kernel.name.ends_with("tile128")))
        wanted.insert(kernel.name);
    EXPECT_EQ(EntryPoints(module.ptx), wanted) << module.name;
  }
}

TEST_P(DeviceCodeTest, TargetsAreWhatTheTableSays) {
  for (const Module& module : modules_)
    EXPECT_THAT(module.ptx, HasSubstr(".target sm_" + std::to_string(GetParam().compute))) << module.name;
}

class DeviceCodeFor61Test : public DeviceCodeTest {};

// PTX 6.0 is what drivers from 2017 on take; nvcc writes its own, newer version.
TEST_P(DeviceCodeFor61Test, OfClangIsPtx60) {
  if (attention::DescribeDeviceCode().find("6.1 (clang") == std::string_view::npos)
    GTEST_SKIP() << "device code: " << attention::DescribeDeviceCode();
  for (const Module& module : modules_) EXPECT_THAT(module.ptx, HasSubstr(".version 6.0\n")) << module.name;
}

TEST_P(DeviceCodeTest, KeepsEverythingInRegistersAndSharedMemory) {
  std::map<std::string, size_t> parameter_bytes;
  for (const gpu::EmulatedKernel& kernel : gpu::EmulatedKernels())
    parameter_bytes[kernel.name] = kernel.parameter_bytes;
  for (const auto& [name, ptx] : modules_) {
    SCOPED_TRACE(name);
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

// From the entry point of that name to the next one.
std::string_view TextOf(const std::string& ptx, const std::string& entry) {
  const size_t begin = ptx.find(".entry " + entry + "(");
  return std::string_view(ptx).substr(begin, ptx.find(".entry ", begin + 1) - begin);
}

size_t CountOf(std::string_view text, const char* pattern) {
  const std::regex wanted(pattern);
  return static_cast<size_t>(
      std::distance(std::cregex_iterator(text.begin(), text.end(), wanted), std::cregex_iterator()));
}

class DeviceProductCodeTest : public DeviceCodeTest {};

// Codes come 16 bytes at a time, of weights and of activations; smaller loads would read each line of memory
// several times.
TEST_P(DeviceProductCodeTest, CodesComeInLoadsOf16Bytes) {
  // Of 32 weights, with what goes with them.
  const std::map<std::string, size_t> weight_loads = {
      {"Q8_0", 3}, {"Q4_0", 2}, {"Q4_K", 2}, {"Q5_K", 3}, {"Q6_K", 2}};
  size_t n_formats = 0;
  for (const auto& [name, ptx] : modules_) {
    const auto format = weight_loads.find(name.substr(name.find('_') + 1));
    if (format == weight_loads.end()) continue;
    ++n_formats;
    for (const auto& [kind, rows] : {std::pair{"_one", 1u}, {"_four", gpu::kMaxDotTokens}, {"_tile", 1u}}) {
      SCOPED_TRACE(name + kind);
      const std::string_view text = TextOf(ptx, name + kind);
      EXPECT_EQ(CountOf(text, R"(ld\.global\.nc\.v4\.u32)"), format->second + 2 * rows);
      EXPECT_EQ(CountOf(text, R"(ld\.global(\.nc)?(\.v2)?\.[bu](32|64))"), 0u);
    }
  }
  EXPECT_EQ(n_formats, weight_loads.size());
}

// What a kernel's blocks may take of a multiprocessor of compute capability 6.1, which has 64 K registers and
// 96 KB of shared memory: as many blocks of it have to fit as its launch bounds promise. A kernel is of the
// first kind that stands in its name.
struct Limits {
  const char* kind;
  size_t threads, blocks;
};
constexpr Limits kLimits[] = {{"_tile128", 128, 2},
                              {"_tile256", 256, 1},
                              {"attention_decode", gpu::kDecodeThreads, gpu::kDecodeBlocks},
                              {"attention_merge", 128, 8},
                              {"layer_heads", 128, 8},
                              {"layer_keep", 128, 8},
                              {"layer_", 256, 4},
                              {"route_tokens", gpu::kRouteThreads, 8},
                              {"route_", 256, 4},
                              {"vision_split", 128, 8},
                              {"vision_", 256, 4},
                              {"_one", 128, 8},
                              {"_four", 128, 6},
                              {"_tile", 256, 2}};

void ExpectToFit(const std::string& name, size_t registers, size_t shared_bytes) {
  const auto limits =
      std::ranges::find_if(kLimits, [&](const Limits& l) { return name.find(l.kind) != std::string::npos; });
  ASSERT_NE(limits, std::end(kLimits)) << name;
  const size_t granted = (registers + 7) / 8 * 8;
  EXPECT_LE(granted * limits->threads * limits->blocks, size_t{64} << 10)
      << name << ", registers " << registers;
  EXPECT_LE(shared_bytes * limits->blocks, size_t{96} << 10) << name << ", bytes " << shared_bytes;
}

// What `command` prints, which has to succeed.
std::string OutputOf(const std::string& command) {
  std::string said;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return said;
  for (int c; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0) << command << ": " << said;
  return said;
}

// ptxas has no compute capability 6.1 any more from CUDA 13 on; 7.5 stands in for it, with the same number of
// registers and nearly the same arithmetic.
TEST_P(DeviceCodeTest, AssemblesWithoutSpillsAndFitsTheMultiprocessor) {
  const std::string ptxas = QWEN3VL_PTXAS;
  if (ptxas.empty()) GTEST_SKIP() << "no ptxas here: registers, shared memory and spills are not checked";
  const test::TempDir dir;
  for (const auto& [name, ptx] : modules_) {
    SCOPED_TRACE(name);
    const std::string file = dir.Write("code.ptx", ptx);
    const std::string said = OutputOf(ptxas + " -arch=sm_75 -v " + file + " -o " + file + ".cubin");
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
    EXPECT_EQ(functions, EntryPoints(ptx).size()) << said;
  }
}

std::vector<CodeSet> SetsWhere(bool (*holds)(const CodeSet&)) {
  std::vector<CodeSet> sets = CodeSets();
  std::erase_if(sets, std::not_fn(holds));
  return sets;
}

std::string NameOf(const testing::TestParamInfo<CodeSet>& set) {
  return set.param.name + ("Compute" + std::to_string(set.param.compute));
}

INSTANTIATE_TEST_SUITE_P(Tables, DeviceCodeTest, testing::ValuesIn(CodeSets()), NameOf);
INSTANTIATE_TEST_SUITE_P(Tables, DeviceCodeFor61Test,
                         testing::ValuesIn(SetsWhere([](const CodeSet& set) { return set.compute == 61; })),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Tables, DeviceProductCodeTest, testing::ValuesIn(SetsWhere([](const CodeSet& set) {
                           return set.prefix == "product_";
                         })),
                         NameOf);

}  // namespace
}  // namespace qwen3vl
