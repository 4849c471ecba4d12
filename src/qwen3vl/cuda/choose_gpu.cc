// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/choose_gpu.h"

#include <algorithm>
#include <new>

#include "attention/cuda/attention_cuda.h"
#include "attention/cuda/device_code.h"
#include "qwen3vl/cuda/asked_fault.h"
#include "qwen3vl/cuda/device_code.h"

namespace qwen3vl {
namespace {

// What the driver needs for itself and for the compiled kernels; and for what is shown, where it drives a
// display.
constexpr size_t kReservedBytes = size_t{96} << 20, kReservedBesideDisplay = size_t{256} << 20;

bool WantsLayers(const GpuRequest& r) { return r.options->gpu_layers != 0; }
bool WantsTower(const GpuRequest& r) {
  if (r.vision == nullptr) return false;
  const SessionOptions& o = *r.options;
  return o.gpu_vision == GpuVision::kOn ||
         (o.gpu_vision == GpuVision::kAuto && o.gpu_layers == kAutoGpuLayers);
}

// Throws Error saying why there is nothing to choose.
std::shared_ptr<const hw::CudaDevice> OpenDevice(const GpuRequest& request, const std::string& driver_library,
                                                 const GpuCode& code) {
  if (request.options->verify)
    throw Error(ErrorCode::kUnsupported, "attention is to be verified, which is done on the CPU");
  if (request.options->exact)
    throw Error(ErrorCode::kUnsupported,
                "the GPU multiplies quantised weights with 8-bit activations, not exactly");
  ThrowIfAsked(attention::Fault::kDevice, ErrorCode::kDevice, "no device");
  if (code.attention.empty() || code.layers.empty())
    throw Error(ErrorCode::kDevice,
                "this build has no device code (" + std::string(attention::DescribeDeviceCode()) + ")");
  return std::make_shared<const hw::CudaDevice>(driver_library);
}

}  // namespace

std::string FailureOf(const std::function<void()>& choose) {
  try {
    choose();
    return {};
  } catch (const std::bad_alloc&) {
    return "no memory to pack the weights in";
  } catch (const Error& e) {
    return e.what();
  }
}

size_t GpuTarget::UsableBytes() const {
  const size_t free_bytes = device->FreeBytes();
  return free_bytes -
         std::min(free_bytes, device->info().drives_display ? kReservedBesideDisplay : kReservedBytes);
}

gpu::ScoreType GpuTarget::scores() const {
  return request.options->gpu_scores == GpuScores::kInt8 ? gpu::ScoreType::kInt8 : gpu::ScoreType::kF32;
}

PathNote GpuTarget::Ran(const std::string& from) const {
  const hw::TilePlan plan = hw::ChooseTilePlan({.gpu = &device->info()}, {});
  return {.path = std::string(attention::Name(attention::Path::kCudaTiled)) +
                  (scores() == gpu::ScoreType::kInt8 ? ", int8 scores" : ""),
          .from = from,
          .tile = plan.tile,
          .tile_reason = plan.reason};
}

GpuChoice ChooseGpu(const GpuRequest& request, const std::string& driver_library, const GpuCode& code) {
  const bool layers = WantsLayers(request), tower = WantsTower(request);
  if (!layers && !tower) return {};
  GpuChoice choice;
  const auto report = [&](const std::string& part) {
    choice.report += (choice.report.empty() ? "" : "; ") + part;
  };
  GpuTarget target{.request = request, .code = code, .device = nullptr};
  if (const std::string why = FailureOf([&] { target.device = OpenDevice(request, driver_library, code); });
      !why.empty()) {
    report(std::string(layers && tower ? "all layers and the vision tower"
                       : layers        ? "all layers"
                                       : "the vision tower") +
           " on the CPU: " + why);
  } else {
    // The tower first: it computes more for each byte that it takes.
    TowerChoice chosen_tower;
    LayersChoice chosen_layers;
    std::string tower_failure;
    if (tower) tower_failure = FailureOf([&] { chosen_tower = ChooseGpuTower(target); });
    if (layers) {
      const std::string failure = FailureOf([&] { chosen_layers = ChooseGpuLayers(target); });
      report(failure.empty() ? chosen_layers.report : "all layers on the CPU: " + failure);
    }
    if (tower)
      report(tower_failure.empty() ? chosen_tower.report : "the vision tower on the CPU: " + tower_failure);
    choice.layers = std::move(chosen_layers.layers);
    choice.tower = std::move(chosen_tower.tower);
  }
  if (request.options->log) request.options->log(LogLevel::kInfo, "gpu: " + choice.report);
  return choice;
}

GpuChoice ChooseGpu(const GpuRequest& request) {
  return ChooseGpu(request, hw::kCudaDriverLibrary,
                   {.attention = attention::EmbeddedDeviceCode(), .layers = EmbeddedDeviceCode()});
}

}  // namespace qwen3vl
