// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/choose_gpu.h"
#include "qwen3vl/cuda/layer_times.h"
#include "qwen3vl/gpu_choice.h"

namespace qwen3vl {

OutputChoice ChooseGpuOutput(const GpuTarget& target) {
  const Weight& weight = target.request.weights->output;
  const SessionOptions& options = *target.request.options;
  PartOffer offer{
      .part = "the output matrix", .device = target.device->info().name, .unable = WhyNotOnGpu(weight)};
  if (offer.unable.empty()) offer.bytes = PlaceOutput(weight).bytes;
  OutputChoice choice;
  const std::string failure = FailureOf([&] {
    offer.usable_bytes = target.UsableBytes();
    PartDecision decision = DecideGpuPart(offer);
    choice.report = decision.report;
    if (!decision.take) return;
    auto output = std::make_unique<DeviceOutput>(target.device, target.code, weight);
    if (options.gpu_layers == kAutoGpuLayers) {
      offer.times = MeasureOutput(*output, weight, options);
      decision = DecideGpuPart(offer);
      choice.report = decision.report;
      if (!decision.take) return;
    }
    choice.report += MemoryOf(*output);
    choice.output = std::move(output);
  });
  if (!failure.empty()) choice.report = offer.part + " on the CPU: " + failure;
  return choice;
}

}  // namespace qwen3vl
