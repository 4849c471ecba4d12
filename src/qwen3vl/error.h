// SPDX-License-Identifier: Apache-2.0
// The one exception class of the library. A leaf: includes only std and the export mark, so every folder
// may use it.
#pragma once

#include <stdexcept>
#include <string>

#include "qwen3vl/export.h"

namespace qwen3vl {

enum class ErrorCode {
  kInvalidArgument,  // the caller asked for something impossible
  kNotFound,         // a file, folder or tensor is missing
  kCorruptFile,      // a file contradicts its format or itself
  kUnsupported,      // valid, but this engine cannot do it
  kOutOfMemory,      // or address space
  kDevice,           // GPU or driver; a session goes on on the CPU instead and says so in its reports
  kCancelled,        // a progress callback returned false where no value can say so (loading)
};

// Thrown by loading, parsing, validation and device code; each public function names its codes. what() is one
// line: what, where, found, wanted, what to do.
class QWEN3VL_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace qwen3vl
