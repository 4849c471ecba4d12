// SPDX-License-Identifier: Apache-2.0
// ChooseGpuLayers with the driver library and the device code of the caller's choice.
#pragma once

#include <string>

#include "qwen3vl/cuda/device_decoder.h"
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

GpuChoice ChooseGpuLayers(const GpuRequest& request, const std::string& driver_library,
                          const DecoderCode& code);

}  // namespace qwen3vl
