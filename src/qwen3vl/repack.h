// SPDX-License-Identifier: Apache-2.0
// Interleaved copies (interleave.h) of a loaded model's matrices.
#pragma once

#include <cstddef>
#include <functional>

#include "hw/parallel.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// Whether to make copies of so many bytes: kAuto where `free_bytes` (0: unknown) hold them and the weights,
// as they lie in the files, and leave 1 GiB for keys, values and activations.
bool MakesCopies(RepackChoice choice, size_t copy_bytes, size_t weight_bytes, size_t free_bytes);

// Makes the copies, as `choice` says and where MakesCopies agrees. Returns their bytes. `between` is called
// from time to time and may throw. Throws Error(kOutOfMemory).
size_t Repack(ModelFiles& files, RepackChoice choice, hw::Threads threads,
              const std::function<void()>& between);

}  // namespace qwen3vl
