// SPDX-License-Identifier: Apache-2.0
// Softmax attention in three passes: all scores, softmax, weighted sum. Short and obvious: the oracle of the
// tests, the fallback of the other paths and the baseline of the benchmarks. Takes every shape, mask and
// format and the optional outputs.
#pragma once

#include "attention/attention.h"

namespace qwen3vl::attention {

// Acc is the type of every sum and of the softmax: float in use, double as the oracle. Needs checked inputs.
// Each thread keeps [rows of a task, kv_len] scores; throws Error(kOutOfMemory) naming the bytes when it
// cannot.
template <class Acc>
void AttendStandard(const Inputs& in, const Outputs& out, hw::Threads threads);

// Bytes that those scores and what goes with them take, on all threads, with sums of `acc_bytes` bytes.
size_t StandardScratchBytes(const Shape& shape, size_t threads, size_t acc_bytes);

extern template void AttendStandard<float>(const Inputs&, const Outputs&, hw::Threads);
extern template void AttendStandard<double>(const Inputs&, const Outputs&, hw::Threads);

}  // namespace qwen3vl::attention
