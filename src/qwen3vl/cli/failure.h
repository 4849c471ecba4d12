// SPDX-License-Identifier: Apache-2.0
// How the command ends: exit codes, and the exception that carries one.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "qwen3vl/error.h"

namespace qwen3vl::cli {

enum ExitCode : int { kDone = 0, kRuntimeError = 1, kBadUsage = 2, kBadFile = 3, kInterrupted = 130 };

// Ends the command with `code` and one line on stderr.
class Failure : public std::runtime_error {
 public:
  Failure(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// What an error of the library means to the shell when nothing is known about where it arose.
constexpr ExitCode ExitCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kCorruptFile:
    case ErrorCode::kUnsupported:
      return kBadFile;
    case ErrorCode::kCancelled:
      return kInterrupted;
    default:
      return kRuntimeError;
  }
}

// Runs `step`; what it finds unsupported or invalid counts as `code`.
template <class Step>
auto Blaming(ExitCode code, Step&& step) {
  try {
    return std::forward<Step>(step)();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kUnsupported && e.code() != ErrorCode::kInvalidArgument) throw;
    throw Failure(code, e.what());
  }
}

// A step that reads files: what cannot be used in them makes a bad file.
template <class Step>
auto ReadingFiles(Step&& step) {
  return Blaming(kBadFile, std::forward<Step>(step));
}

// A step that takes options over: what cannot be meant makes bad usage.
template <class Step>
auto TakingOptions(Step&& step) {
  return Blaming(kBadUsage, std::forward<Step>(step));
}

}  // namespace qwen3vl::cli
