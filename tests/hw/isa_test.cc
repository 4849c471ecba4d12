// SPDX-License-Identifier: Apache-2.0
#include "support/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "hw/cpu_info.h"
#include "hw/isa_test_kernel.h"
#include "qwen3vl/error.h"

namespace qwen3vl::hw {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class IsaTest : public testing::Test {
 private:
  const test::IsaGuard guard_;
};

TEST_F(IsaTest, EveryKernelObeysTheSelection) {
  // The most bytes of a vector; the portable code has 16 or, with GCC before 12.3, single values.
  const std::map<Isa, size_t> vector_bytes = {
      {Isa::kBaseline, 16}, {Isa::kSse4, 16}, {Isa::kAvx2, 32}, {Isa::kAvx512, 64}, {Isa::kAvx512Vnni, 64}};
  // Up and down, so that a selection also takes back an earlier, lower one.
  std::vector<Isa> order = AvailableIsas();
  order.insert(order.end(), order.rbegin(), order.rend());
  for (const Isa isa : order) {
    SelectIsa(isa);
    EXPECT_EQ(SelectedIsa(), isa);
    EXPECT_EQ(AskKernel().isa, isa) << Name(isa);
    EXPECT_LE(AskKernel().vector_bytes, vector_bytes.at(isa)) << Name(isa);
    if (isa != Isa::kBaseline) {
      EXPECT_EQ(AskKernel().vector_bytes, vector_bytes.at(isa)) << Name(isa);
    }
  }
}

TEST_F(IsaTest, NamesSelectToo) {
  for (const Isa isa : AvailableIsas()) {
    SelectIsa(Name(isa));
    EXPECT_EQ(AskKernel().isa, isa);
  }
  SelectIsa("baseline");
  SelectIsa("auto");
  EXPECT_EQ(AskKernel().isa, AvailableIsas().back());
}

TEST_F(IsaTest, SelectionDoesNotShortenTheListOfAvailable) {
  const std::vector<Isa> all = AvailableIsas();
  EXPECT_EQ(all.front(), Isa::kBaseline);
  SelectIsa(Isa::kBaseline);
  EXPECT_EQ(AvailableIsas(), all);
  EXPECT_EQ(ProbeCpu().best_isa, all.back());
}

TEST_F(IsaTest, UnknownNameIsAnErrorThatListsTheKnown) {
  const Isa before = SelectedIsa();
  try {
    SelectIsa("avx1024");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(e.what(), AllOf(HasSubstr("avx1024"), HasSubstr("baseline, sse4, avx2, avx512, avx512vnni")));
  }
  EXPECT_EQ(AskKernel().isa, before);
}

// The tests' own guard, which all tests of kernels rest on.
TEST_F(IsaTest, GuardPutsTheSelectionBackWhateverHappens) {
  const Isa before = SelectedIsa();
  for (const Isa isa : AvailableIsas()) {
    try {
      const test::IsaGuard guard(isa);
      EXPECT_EQ(SelectedIsa(), isa);
      throw 1;
    } catch (int) {
    }
    EXPECT_EQ(SelectedIsa(), before);
  }
}

// The environment is read when a process starts, so each case runs in a child that starts anew.
class IsaEnvironmentTest : public testing::Test {
 protected:
  void SetUp() override { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
  void TearDown() override { unsetenv("QWEN3VL_ISA"); }
};

[[noreturn]] void ExitReporting(bool select_first) {
  try {
    if (select_first) SelectIsa(Isa::kBaseline);
    const Isa asked = SelectedIsa();
    std::fprintf(stderr, "kernel runs on %s\n", std::string(Name(AskKernel().isa)).c_str());
    std::exit(asked == AskKernel().isa ? 0 : 1);
  } catch (const Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    std::exit(3);
  }
}

TEST_F(IsaEnvironmentTest, NamesTheInstructionSet) {
  for (const Isa isa : AvailableIsas()) {
    const std::string name(Name(isa));
    setenv("QWEN3VL_ISA", name.c_str(), 1);
    EXPECT_EXIT(ExitReporting(/*select_first=*/false), testing::ExitedWithCode(0),
                "kernel runs on " + name + "\n");
  }
}

TEST_F(IsaEnvironmentTest, IsObeyedByKernelsThatAskNobody) {
  setenv("QWEN3VL_ISA", "baseline", 1);
  EXPECT_EXIT(std::exit(AskKernel().isa == Isa::kBaseline ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST_F(IsaEnvironmentTest, UnknownNameIsReportedWhenAskedAndCanBeOverridden) {
  setenv("QWEN3VL_ISA", "mmx", 1);
  EXPECT_EXIT(ExitReporting(/*select_first=*/false), testing::ExitedWithCode(3),
              "error: environment variable QWEN3VL_ISA: instruction set \"mmx\": unknown");
  EXPECT_EXIT(ExitReporting(/*select_first=*/true), testing::ExitedWithCode(0), "kernel runs on baseline");
}

}  // namespace
}  // namespace qwen3vl::hw
