// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qwen3vl {

// Reads the environment variables that count, QWEN3VL_ISA and QWEN3VL_FAULT, before anything asks for them.
// Throws Error(kInvalidArgument) naming the one that holds what is not known here, and what is.
void CheckEnvironment();

}  // namespace qwen3vl
