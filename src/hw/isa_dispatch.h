// SPDX-License-Identifier: Apache-2.0
// What Highway's run-time dispatch can do and does: the layer under SelectIsa() of cpu_info.h, which is what
// everybody else calls.
#pragma once

#include <vector>

#include "hw/cpu_info.h"

namespace qwen3vl::hw {

// The instruction sets that are compiled in, that this processor has and that are not restricted: the full
// list when called first. Worst first, never empty.
std::vector<Isa> DetectIsas();

// From now on dispatch takes the best available instruction set that is not better than `isa`. Where the
// program shares Highway's library, this holds for its other users too.
void RestrictDispatch(Isa isa);

// The instruction set that a kernel dispatched now runs on.
Isa DispatchedIsa();

}  // namespace qwen3vl::hw
