// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

GpuChoice ChooseGpuLayers(const GpuRequest& request) {
  if (request.options->gpu_layers == 0) return {};
  GpuChoice choice{nullptr, "all layers on the CPU: this build has no GPU code"};
  if (request.options->log) request.options->log(LogLevel::kInfo, "gpu: " + choice.report);
  return choice;
}

}  // namespace qwen3vl
