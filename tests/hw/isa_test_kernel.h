// SPDX-License-Identifier: Apache-2.0
// A kernel dispatched like all others, in a file of its own: what it returns proves where dispatch went.
#pragma once

#include "hw/cpu_info.h"

namespace qwen3vl::hw {

struct KernelAnswer {
  Isa isa;              // that the code which ran was compiled for
  size_t vector_bytes;  // of its full vectors
};
KernelAnswer AskKernel();

}  // namespace qwen3vl::hw
