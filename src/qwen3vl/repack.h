// SPDX-License-Identifier: Apache-2.0
// Interleaved copies (interleave.h) of a loaded model's matrices.
#pragma once

#include <cstddef>
#include <functional>

#include "hw/parallel.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// Makes those copies, as `choice` says; kAuto where memory holds them beside what is loaded. Returns their
// bytes. `between` is called from time to time and may throw. Throws Error(kOutOfMemory).
size_t Repack(ModelFiles& files, RepackChoice choice, hw::Threads threads,
              const std::function<void()>& between);

}  // namespace qwen3vl
