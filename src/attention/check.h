// SPDX-License-Identifier: Apache-2.0
// What Attend asks of its arguments before any kernel runs, and of the numbers afterwards.
#pragma once

#include "attention/attention.h"

namespace qwen3vl::attention {

// Throws Error(kInvalidArgument) naming the first contradiction in the problem. q_len, kv_len and batch may
// be 0.
void CheckProblem(const Inputs& in, const Outputs& out);
// The same for what Options::each_alone wants besides.
void CheckEachAlone(const Inputs& in, const Outputs& out);

// Whether every element of the result is finite.
bool ResultIsFinite(const Shape& shape, const Outputs& out) noexcept;
// Whether every element of q, k and v is finite (a bias may hold -inf to hide).
bool InputsAreFinite(const Inputs& in);

}  // namespace qwen3vl::attention
