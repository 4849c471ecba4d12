// SPDX-License-Identifier: Apache-2.0
// The attention kernels of one head_dim, storage format, tile and kind of scores on a device, and their
// launches. Where the tensors lie is the caller's business: they may have come with the call, or live on the
// device.
#pragma once

#include <span>
#include <string>

#include "attention/cuda/cuda_problem.h"
#include "hw/device_code.h"

namespace qwen3vl::attention {

struct AttentionKernels {
  hw::DeviceFunctions functions;  // prefill, decode, merge
  std::string name;               // "128_F16", "128_F16_int8"
  unsigned tile = 0;              // kv rows per step of prefill, and threads of its blocks
};

// The kernels have a tile of 128 or of 256: the prescribed one, or the one that a forced tile is nearer to.
unsigned TileOf(const hw::GpuInfo& gpu, const hw::TilePlan& plan);

// Throws and tells as hw::LoadFunctions.
AttentionKernels LoadAttentionKernels(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                                      unsigned head_dim, gpu::KvFormat format, unsigned tile,
                                      gpu::ScoreType scores = gpu::ScoreType::kF32);

// Everything but the addresses.
gpu::AttentionParams ParamsOf(const Inputs& in, const CudaProblem& problem);

// With the arrays in one block of device memory, as problem.layout places them.
gpu::AttentionParams ParamsAt(const Inputs& in, const CudaProblem& problem, hw::CudaAddress memory);

// Starts the launches of the problem and does not wait for them.
void StartAttention(const hw::CudaDevice& device, const AttentionKernels& kernels, const Shape& shape,
                    const CudaProblem& problem, const gpu::AttentionParams& params);

}  // namespace qwen3vl::attention
