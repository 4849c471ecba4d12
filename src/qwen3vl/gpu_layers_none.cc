// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

GpuChoice ChooseGpu(const GpuRequest& request) {
  const SessionOptions& o = *request.options;
  if (o.gpu_layers == 0 && (o.gpu_vision != GpuVision::kOn || request.vision == nullptr)) return {};
  GpuChoice choice;
  choice.report = "everything on the CPU: this build has no GPU code";
  if (o.log) o.log(LogLevel::kInfo, "gpu: " + choice.report);
  return choice;
}

}  // namespace qwen3vl
