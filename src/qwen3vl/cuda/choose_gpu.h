// SPDX-License-Identifier: Apache-2.0
// ChooseGpu with the driver library and the device code of the caller's choice, and its parts.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "hw/cuda_device.h"
#include "qwen3vl/cuda/device_output.h"
#include "qwen3vl/cuda/gpu_code.h"
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

GpuChoice ChooseGpu(const GpuRequest& request, const std::string& driver_library, const GpuCode& code);

// What all parts have in hand.
struct GpuTarget {
  const GpuRequest& request;
  const GpuCode& code;
  std::shared_ptr<const hw::CudaDevice> device;

  // Free memory of the device, but for what its driver needs, and its display.
  size_t UsableBytes() const;
  // The asked kind of scores, and what is noted where attention with them ran.
  gpu::ScoreType scores() const;
  PathNote Ran(const std::string& from) const;
};

struct LayersChoice {
  std::unique_ptr<GpuLayers> layers;
  std::string report;
};
struct OutputChoice {
  std::unique_ptr<DeviceOutput> output;
  std::string report;
};
struct TowerChoice {
  std::unique_ptr<GpuTower> tower;
  std::string report;
};

// Layers and tower throw Error or std::bad_alloc where the device fails. The output matrix is asked for where
// all layers are there, and after them, for it serves but one token of a prompt; where it fails, layers can
// do without it.
LayersChoice ChooseGpuLayers(const GpuTarget& target);
OutputChoice ChooseGpuOutput(const GpuTarget& target);
TowerChoice ChooseGpuTower(const GpuTarget& target);

// Why choosing failed, or an empty text.
std::string FailureOf(const std::function<void()>& choose);

// ", 450 MiB of its memory"
template <class OnDevice>
std::string MemoryOf(const OnDevice& part) {
  return ", " + std::to_string(part.bytes() >> 20) + " MiB of its memory";
}

}  // namespace qwen3vl
