// SPDX-License-Identifier: Apache-2.0
// Faults on request, so that every cause of a fallback can be provoked, in tests and in shipped binaries:
// QWEN3VL_FAULT=alloc,nan or SetFaults("alloc,nan").
#pragma once

#include <string_view>

namespace qwen3vl::attention {

enum class Fault {
  kAlloc,   // "alloc": attention scratch, or device memory, cannot be had
  kDevice,  // "device": no usable GPU
  kLaunch,  // "launch": a GPU kernel fails to start
  kNan,     // "nan": the tiled path's result holds a NaN (noticed with Options::check_finite)
};

// Whether that fault is asked for. The environment is read once, at the first call. Throws
// Error(kInvalidArgument) listing the known names when it holds another one.
bool FaultAsked(Fault fault);

// Replaces what is asked for, process-wide: a comma-separated list of the names above, "" for none. Throws as
// FaultAsked. Not to be called while attention runs.
void SetFaults(std::string_view names);

}  // namespace qwen3vl::attention
