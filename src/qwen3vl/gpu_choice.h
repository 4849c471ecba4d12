// SPDX-License-Identifier: Apache-2.0
// What a GPU gets, decoder layers, the output matrix and the vision tower: pure functions of what was asked,
// what fits, and what one layer or block took here and there.
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
  size_t n_layers = 0;   // the last ones; 0: all on the CPU
  std::string report;    // one line: what and why
  std::string short_of;  // why no more of them; empty: as many as wanted
};

GpuDecision DecideGpuLayers(const GpuOffer& offer);

// A piece of work of one part of a model on the processor and on the GPU, in seconds.
struct PartTimes {
  double cpu_s = 0, gpu_s = 0;
  std::string piece;  // "a block"
  std::string work;   // "256 patches"
};

// The vision tower, or the output matrix.
struct PartOffer {
  std::string part;  // "the vision tower"
  std::string device;
  std::string unable;  // why the kernels cannot run it; empty: they can
  size_t bytes = 0;    // that it takes
  size_t usable_bytes = 0;
  std::optional<PartTimes> times;  // measured where nobody insists
};

struct PartDecision {
  bool take = false;
  std::string report;  // one line: what and why
};

PartDecision DecideGpuPart(const PartOffer& offer);

}  // namespace qwen3vl
