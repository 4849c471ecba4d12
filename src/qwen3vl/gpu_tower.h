// SPDX-License-Identifier: Apache-2.0
// The vision tower on a GPU behind a plain interface, as gpu_layers.h has it for decoder layers.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "hw/view.h"
#include "qwen3vl/runtime.h"
#include "rope/rope.h"

namespace qwen3vl {

struct VisualFeatures;

// Patches that a GPU has room for from the start, or those of the largest picture that the options allow
// where they are fewer: a picture of 1920 x 1080 pixels.
inline constexpr size_t kGpuPatches = 8192;

// Embedded patches of one or more pictures, which the blocks leave as they are, and what goes with them.
struct VisionStep {
  hw::MatrixView<const float> x;          // [n, dim]
  const rope::RopeTable* rope = nullptr;  // [n]
  std::span<const size_t> segments;       // boundaries 0 .. n of what may attend to each other
  std::string prefix;                     // of names in a trace
  std::function<void(size_t)> on_block;   // blocks done
};

// All blocks and mergers of a tower.
class GpuTower {
 public:
  virtual ~GpuTower() = default;
  // Fills `features`, which has the memory for them. False when the device cannot: the cause has been
  // reported, the tower is to be computed elsewhere, and what `features` holds is void. Throws
  // CancelledSignal when cancelled.
  virtual bool Encode(const VisionStep& step, VisualFeatures& features, Runtime& runtime) = 0;
};

}  // namespace qwen3vl
