// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <new>

#include "qwen3vl/cuda/asked_fault.h"
#include "qwen3vl/cuda/choose_gpu.h"
#include "qwen3vl/cuda/device_vision.h"
#include "qwen3vl/cuda/layer_times.h"
#include "qwen3vl/gpu_choice.h"

namespace qwen3vl {
namespace {

class CudaTower : public GpuTower {
 public:
  CudaTower(std::unique_ptr<DeviceVision> tower, PathNote ran)
      : tower_(std::move(tower)), ran_(std::move(ran)) {}

  bool Encode(const VisionStep& step, VisualFeatures& features, Runtime& runtime) override {
    if (!tower_) return false;
    std::string why;
    try {
      ThrowIfAsked(attention::Fault::kLaunch, ErrorCode::kDevice, "kernel launch failed");
      tower_->Encode(step, features, runtime);
      runtime.NotePath(ran_);
      return true;
    } catch (const std::bad_alloc&) {
      why = "no memory to collect the features in; this picture is encoded on the CPU";
    } catch (const Error& e) {
      const bool for_good = e.code() != ErrorCode::kOutOfMemory;
      why = std::string(e.what()) + (for_good ? "; pictures are encoded on the CPU from now on"
                                              : "; this picture is encoded on the CPU");
      if (for_good) tower_.reset();
    }
    runtime.NotePath(
        {.path = std::string(attention::Name(attention::Path::kCpuTiled)), .from = ran_.from, .why = why});
    return false;
  }

 private:
  std::unique_ptr<DeviceVision> tower_;  // null once the device has failed
  const PathNote ran_;
};

}  // namespace

TowerChoice ChooseGpuTower(const GpuTarget& target) {
  const GpuRequest& request = target.request;
  const VisionConfig& config = *request.vision;
  const VisionWeights& weights = *request.vision_weights;
  const hw::GpuInfo& info = target.device->info();
  const size_t patches = std::min(request.max_patches, kGpuPatches);
  PartOffer offer{.part = "the vision tower", .device = info.name, .unable = WhyNotOnGpu(config, weights)};
  if (offer.unable.empty())
    offer.bytes = PlaceVisionWeights(weights).bytes +
                  PlaceVisionActivations(config, patches, info.multiprocessors).bytes;
  offer.usable_bytes = target.UsableBytes();
  PartDecision decision = DecideGpuPart(offer);
  if (!decision.take) return {nullptr, decision.report};
  ThrowIfAsked(attention::Fault::kAlloc, ErrorCode::kOutOfMemory, "no device memory");
  auto tower =
      std::make_unique<DeviceVision>(target.device, target.code, config, weights, patches, target.scores());
  if (request.options->gpu_vision != GpuVision::kOn) {
    offer.times = MeasureVisionBlock(*tower, config, weights, *request.options);
    decision = DecideGpuPart(offer);
    if (!decision.take) return {nullptr, decision.report};
  }
  const std::string report = decision.report + MemoryOf(*tower);
  return {std::make_unique<CudaTower>(std::move(tower), target.Ran("gpu vision")), report};
}

}  // namespace qwen3vl
