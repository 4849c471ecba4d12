// SPDX-License-Identifier: Apache-2.0
// How many decoder layers a GPU gets: a pure function of what was asked, what fits, and what one layer took
// here and there.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace qwen3vl {

// One layer on the processor and on the GPU, in seconds.
struct LayerTimes {
  double cpu_prompt_s = 0, gpu_prompt_s = 0;  // of prompt_tokens tokens at once
  double cpu_token_s = 0, gpu_token_s = 0;    // of one token
  size_t prompt_tokens = 1;
};

struct GpuOffer {
  std::string device;   // "NVIDIA GeForce GTX 1050"
  size_t n_layers = 0;  // of the model
  size_t asked = 0;     // or kAutoGpuLayers
  size_t able = 0;      // the last layers that the kernels can run
  std::string unable;   // why not one more
  size_t fitting = 0;   // the last layers that the free memory holds
  size_t free_bytes = 0;
  std::optional<LayerTimes> times;  // measured for kAutoGpuLayers
};

struct GpuDecision {
  size_t n_layers = 0;  // the last ones; 0: all on the CPU
  std::string report;   // one line: what and why
};

GpuDecision DecideGpuLayers(const GpuOffer& offer);

}  // namespace qwen3vl
