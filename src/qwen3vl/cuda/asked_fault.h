// SPDX-License-Identifier: Apache-2.0
// The faults of QWEN3VL_FAULT where a GPU computes whole layers.
#pragma once

#include <string>

#include "attention/fault.h"
#include "qwen3vl/error.h"

namespace qwen3vl {

inline void ThrowIfAsked(attention::Fault fault, ErrorCode code, const char* what) {
  if (attention::FaultAsked(fault)) throw Error(code, std::string(what) + " (asked for by QWEN3VL_FAULT)");
}

}  // namespace qwen3vl
