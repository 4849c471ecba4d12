// SPDX-License-Identifier: Apache-2.0
// The CUDA path behind a plain C++ interface: no CUDA type and no #ifdef crosses it. A build with
// QWEN3VL_CUDA=OFF links attention_none.cc, which says so.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "attention/attention.h"

namespace qwen3vl::attention {

// What the path could not do, in the terms of AttentionReport; cause kNone when it ran.
struct PathOutcome {
  FallbackCause cause = FallbackCause::kNone;
  std::string sentence;  // "cuda: this build has no CUDA path"
};

// Runs the whole problem on the device, or says why not and leaves the output to the next path. `*tile`
// becomes the kv rows per step. Precondition: checked inputs.
PathOutcome AttendCuda(const Inputs& in, const Outputs& out, const Options& options, size_t* tile);

// Which device code this library holds: "compute capability 6.1 (clang 14.0.6)", "none (...)".
std::string_view DescribeDeviceCode();

}  // namespace qwen3vl::attention
