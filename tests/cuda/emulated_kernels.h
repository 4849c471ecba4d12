// SPDX-License-Identifier: Apache-2.0
// The kernels that the library embeds, compiled from the same sources for the block emulator, with what a
// launch of each may touch.
#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuda/block_emulator.h"

namespace qwen3vl::gpu {

// An array that a launch is given: where its address stands among the parameters, and its size. Arrays of
// which a launch does not use anything have no bytes.
struct KernelArray {
  size_t offset;
  size_t bytes;
  bool writable;
};

struct EmulatedKernel {
  std::string name;    // of the entry point
  std::string module;  // "attention_128_F16"
  unsigned threads;    // of a block
  size_t parameter_bytes;
  std::function<void(const void* parameters)> run;  // one thread
  std::function<std::vector<KernelArray>(const void* parameters, Grid grid)> arrays;
};

const std::vector<EmulatedKernel>& EmulatedKernels();

// The kernel `run` with its parameters of type Params, whose arrays `arrays(params, grid)` lists.
template <class Params, class Arrays>
EmulatedKernel MakeEmulatedKernel(std::string name, std::string module, unsigned threads,
                                  void (*run)(const Params&), Arrays arrays) {
  return {std::move(name),
          std::move(module),
          threads,
          sizeof(Params),
          [run](const void* p) { run(*static_cast<const Params*>(p)); },
          [arrays](const void* p, Grid grid) { return arrays(*static_cast<const Params*>(p), grid); }};
}

}  // namespace qwen3vl::gpu
