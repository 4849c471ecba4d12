// SPDX-License-Identifier: Apache-2.0
// EXPECT_ERROR(ErrorCode::kCorruptFile, "shape [3], want [4]", Open(path)): the statement throws that code,
// in one line that holds the text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "qwen3vl/error.h"

namespace qwen3vl::test {

template <class Fn>
void ExpectError(ErrorCode code, const std::string& text, const Fn& statement) {
  try {
    statement();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << e.what();
    EXPECT_THAT(e.what(), testing::HasSubstr(text));
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return;
  }
  ADD_FAILURE() << "no error, want one with \"" << text << '"';
}

}  // namespace qwen3vl::test

#define EXPECT_ERROR(code, text, ...) \
  ::qwen3vl::test::ExpectError(code, text, [&] { static_cast<void>(__VA_ARGS__); })
