// SPDX-License-Identifier: Apache-2.0
// The kernels that the library embeds, compiled from the same sources for the block emulator.
#pragma once

#include <string>
#include <vector>

#include "attention/cuda/attention_params.h"

namespace qwen3vl::gpu {

struct EmulatedKernel {
  std::string name;    // of the entry point
  std::string module;  // "attention_128_F16"
  unsigned head_dim;
  KvFormat format;
  unsigned threads;  // of a block
  void (*run)(const AttentionParams& params);
};

const std::vector<EmulatedKernel>& EmulatedKernels();

}  // namespace qwen3vl::gpu
