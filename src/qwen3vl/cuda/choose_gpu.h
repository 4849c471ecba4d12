// SPDX-License-Identifier: Apache-2.0
// ChooseGpu with the driver library and the device code of the caller's choice, and its two halves.
#pragma once

#include <memory>
#include <string>

#include "hw/cuda_device.h"
#include "qwen3vl/cuda/gpu_code.h"
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

GpuChoice ChooseGpu(const GpuRequest& request, const std::string& driver_library, const GpuCode& code);

// What both halves have in hand.
struct GpuTarget {
  const GpuRequest& request;
  const GpuCode& code;
  std::shared_ptr<const hw::CudaDevice> device;

  // Free memory of the device, but for what its driver needs for itself and for the compiled kernels.
  size_t UsableBytes() const;
};

struct LayersChoice {
  std::unique_ptr<GpuLayers> layers;
  std::string report;
};
struct TowerChoice {
  std::unique_ptr<GpuTower> tower;
  std::string report;
};

// Both throw Error or std::bad_alloc where the device fails.
LayersChoice ChooseGpuLayers(const GpuTarget& target);
TowerChoice ChooseGpuTower(const GpuTarget& target);

}  // namespace qwen3vl
