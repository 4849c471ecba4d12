// SPDX-License-Identifier: Apache-2.0
// The CUDA path behind a plain C++ interface: no CUDA type and no #ifdef crosses it. A build without CUDA
// links attention_none.cc, which says so.
#pragma once

#include <string>

#include "attention/attention.h"

namespace qwen3vl::attention {

// What the path could not do, in the terms of AttentionReport; cause kNone when it ran.
struct PathOutcome {
  FallbackCause cause = FallbackCause::kNone;
  std::string sentence;  // "cuda: this build has no CUDA path"
};

// Whether kAuto should try this path at all.
bool CudaAvailable();

// Runs the whole problem on the device, or says why not and leaves the output to the next path. Precondition:
// checked inputs.
PathOutcome AttendCuda(const Inputs& in, const Outputs& out, const Options& options);

}  // namespace qwen3vl::attention
