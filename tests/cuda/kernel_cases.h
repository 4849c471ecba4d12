// SPDX-License-Identifier: Apache-2.0
// What the attention kernels of the GPU are tried on, emulated or real: the case table of the CPU kernels and
// sizes around their own tiles, with the tolerances.
#pragma once

#include <vector>

#include "cuda/fake_device.h"
#include "support/attention_cases.h"

namespace qwen3vl::test {

// Those of them that the kernels can do, and those that have to be left to the CPU.
std::vector<AttentionCase> SupportedCases();
std::vector<AttentionCase> UnsupportedCases();

// 8-bit scores against float64 on unrounded q and k: that of a cache in Q8_0 (Tolerances in
// tests/data/README.md), for scores of the table's ordinary size, where q and k reach 2 and the scale is the
// usual one. A score's error grows as scores do, and the relative error of its weight is as large.
double Int8Tolerance(const AttentionCase& c);

// Rows as the kernels round them for 8-bit scores: blocks of 32 columns in steps of the largest / 127.
std::vector<float> Rounded(std::vector<float> rows, size_t head_dim);

// The output within `tolerance`, the log-sum-exp within kLseTolerance. The emulator's exp2 is the C
// library's.
void ExpectReference(const CudaResult& r, const AttentionReference& ref, double tolerance = kFloatTolerance);

}  // namespace qwen3vl::test
