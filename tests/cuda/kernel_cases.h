// SPDX-License-Identifier: Apache-2.0
// What the attention kernels of the GPU are tried on, emulated or real: the case table of the CPU kernels and
// sizes around their own tiles, with the tolerances.
#pragma once

#include <vector>

#include "cuda/fake_device.h"
#include "support/attention_cases.h"

namespace qwen3vl::test {

// Relative in the norm, from the design's numbers for a float32 path. The emulator's exp2 is the C library's;
// the device's is off by 2 units in the last place.
inline constexpr double kFloatTolerance = 2e-6;

std::vector<AttentionCase> KernelCases();

// Whether the kernels can do it; what they cannot has to be left to the CPU.
bool IsSupported(const AttentionCase& c);

// 8-bit scores against float64 on unrounded q and k: the design's number for 8-bit keys, for scores of the
// table's ordinary size, where q and k reach 2 and the scale is the usual one. A score's error grows as
// scores do, and the relative error of its weight is as large.
double Int8Tolerance(const AttentionCase& c);

// Rows as the kernels round them for 8-bit scores: blocks of 32 columns in steps of the largest / 127.
std::vector<float> Rounded(std::vector<float> rows, size_t head_dim);

// The output within `tolerance`, the log-sum-exp within what scores near 90 leave of a float.
void ExpectReference(const CudaResult& r, const AttentionReference& ref, double tolerance = kFloatTolerance);

}  // namespace qwen3vl::test
