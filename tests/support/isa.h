// SPDX-License-Identifier: Apache-2.0
// Instruction sets in tests. The selection is of the whole process, so a test puts back what it found, also
// when it throws: the next one runs on what QWEN3VL_ISA names.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "hw/cpu_info.h"

namespace qwen3vl::test {

// Selects an instruction set, or lets the test do so, until the end of the scope.
class IsaGuard {
 public:
  IsaGuard() = default;
  explicit IsaGuard(hw::Isa isa) { hw::SelectIsa(isa); }
  ~IsaGuard() { hw::SelectIsa(before_); }
  IsaGuard(const IsaGuard&) = delete;
  IsaGuard& operator=(const IsaGuard&) = delete;

 private:
  const hw::Isa before_ = hw::SelectedIsa();
};

// Runs `body` on every instruction set of this machine, worst first.
template <class Body>
void OnEveryIsa(const Body& body) {
  for (const hw::Isa isa : hw::AvailableIsas()) {
    SCOPED_TRACE(hw::Name(isa));
    const IsaGuard guard(isa);
    body();
  }
}

// A fixture whose tests run on each of them:
//   class RotateTest : public test::EachIsaTest {};
//   INSTANTIATE_TEST_SUITE_P(Isa, RotateTest, testing::ValuesIn(hw::AvailableIsas()), test::IsaName);
class EachIsaTest : public testing::TestWithParam<hw::Isa> {
 private:
  const IsaGuard guard_{GetParam()};
};

inline std::string IsaName(const testing::TestParamInfo<hw::Isa>& isa) {
  return std::string(hw::Name(isa.param));
}

}  // namespace qwen3vl::test
