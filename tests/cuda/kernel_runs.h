// SPDX-License-Identifier: Apache-2.0
// One launch of a kernel on the block emulator, and of the embedded PTX of the same kernel on the
// interpreter.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "cuda/block_emulator.h"
#include "cuda/emulated_kernels.h"
#include "cuda/ptx_interpreter.h"
#include "hw/device_code.h"

namespace qwen3vl::test {

template <class T>
std::span<std::byte> Bytes(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

const gpu::EmulatedKernel& KernelNamed(const std::string& name);

// Runs the source, in that order of threads. Throws std::runtime_error where a launch fails, or writes beside
// its arrays.
void RunSource(const std::string& name, gpu::Grid grid, const void* parameters,
               gpu::ThreadOrder order = gpu::ThreadOrder::kForward);

// Runs source and text of the kernel, the source with its threads in three orders; `output` is what the
// launch writes, and what it held before is there again at the beginning of each run. All results are the
// same, bit by bit; the first one stays.
void ExpectOneResult(std::span<const hw::DeviceCode> code, const std::string& name, gpu::Grid grid,
                     const void* parameters, std::span<std::byte> output);

}  // namespace qwen3vl::test
