// SPDX-License-Identifier: Apache-2.0
// Between the tensors of a call and the arrays of CudaLayout. What does not exist (padding of a batch,
// columns past head_dim) is zero on the device.
#pragma once

#include <cstddef>

#include "attention/attention.h"
#include "attention/cuda/cuda_problem.h"
#include "hw/cuda_device.h"

namespace qwen3vl::attention {

// Fills `upload` [layout.upload_bytes]. False when v holds an infinity or a NaN, which would spread to rows
// that do not see it.
bool PackInputs(const Inputs& in, const CudaProblem& problem, hw::Threads threads, std::byte* upload);

// Copies what the kernels have written to `download` [layout.download_bytes].
void DownloadOutputs(const hw::CudaBuffer& memory, const CudaLayout& layout, std::byte* download);

// Writes out and lse from `download` [layout.download_bytes].
void UnpackOutputs(const Inputs& in, const CudaProblem& problem, const std::byte* download,
                   hw::Threads threads, const Outputs& out);

}  // namespace qwen3vl::attention
