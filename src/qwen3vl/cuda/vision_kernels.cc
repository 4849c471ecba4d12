// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/vision_kernels.h"

#include <iterator>
#include <string>
#include <vector>

#include "qwen3vl/cuda/device_address.h"
#include "qwen3vl/cuda/layer_kernels.h"

namespace qwen3vl {
namespace {

// In the order of VisionKernels::functions_.entries.
enum Entry { kLayerNorm, kSplit, kGeluTanh, kGeluErf };
constexpr const char* kNames[] = {"vision_layer_norm", "vision_split", "vision_gelu_tanh", "vision_gelu_erf"};

}  // namespace

VisionKernels::VisionKernels(std::shared_ptr<const hw::CudaDevice> device,
                             std::span<const hw::DeviceCode> code)
    : device_(std::move(device)) {
  const std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  functions_ = LoadNeeded(*device_, code, "vision", names);
}

void VisionKernels::LayerNorm(const gpu::LayerNormParams& params, size_t rows) const {
  device_->Start(functions_.entries[kLayerNorm], {Count(rows)}, gpu::kNormThreads, &params,
                 kNames[kLayerNorm]);
}

void VisionKernels::Split(const gpu::SplitParams& params, size_t tokens) const {
  device_->Start(functions_.entries[kSplit], {Groups(params.heads, gpu::kHeadThreads / 32), Count(tokens)},
                 gpu::kHeadThreads, &params, kNames[kSplit]);
}

void VisionKernels::GeluTanh(hw::CudaAddress x, size_t count) const { Gelu(kGeluTanh, x, count); }
void VisionKernels::GeluErf(hw::CudaAddress x, size_t count) const { Gelu(kGeluErf, x, count); }

void VisionKernels::Gelu(size_t entry, hw::CudaAddress x, size_t count) const {
  const gpu::GeluParams params{.x = At<float>(x), .count = Count(count)};
  device_->Start(functions_.entries[entry], {Groups(count, gpu::kValuesPerBlock)}, gpu::kValueThreads,
                 &params, kNames[entry]);
}

}  // namespace qwen3vl
