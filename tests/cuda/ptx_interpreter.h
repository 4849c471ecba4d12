// SPDX-License-Identifier: Apache-2.0
// Executes PTX on the block emulator: the very text that is shipped. Barriers and shuffles must be met by all
// threads at the same line of it. Every access to memory is checked for bounds and alignment; registers begin
// with all bits set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cuda/ptx_module.h"

namespace qwen3vl::gpu {

// Device memory that a kernel may read, and perhaps write.
struct MemoryRange {
  uint64_t address = 0;
  size_t bytes = 0;
  bool writable = false;
};

// Runs one thread: to be called by Launch. Throws std::runtime_error naming the line.
void RunPtx(const PtxKernel& kernel, std::span<const std::byte> parameters,
            std::span<const MemoryRange> memory);

}  // namespace qwen3vl::gpu
