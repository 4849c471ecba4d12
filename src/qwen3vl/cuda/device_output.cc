// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/device_output.h"

#include <algorithm>
#include <cassert>

#include "qwen3vl/cuda/device_places.h"
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

static_assert(kGpuOutputRows <= gpu::kMaxDotTokens, "more rows would take the product for many");

PlacedOutput PlaceOutput(const Weight& weight) {
  const size_t n = kGpuOutputRows;
  DevicePlaces places;
  PlacedOutput at{.weight = places.Matrix(weight)};
  const size_t padded = at.weight.layout.padded_cols();
  at.x = places.Floats({n, weight.cols});
  at.codes = places.Take({n, padded});
  at.scales = places.Floats({n, padded / 32});
  at.sums = places.Floats({n, padded / 16});
  at.logits = places.Floats({n, weight.rows});
  at.bytes = places.end();
  return at;
}

DeviceOutput::DeviceOutput(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code,
                           const Weight& weight)
    : device_(std::move(device)),
      placed_(PlaceOutput(weight)),
      kernels_(device_, code.layers, {placed_.weight.layout.format}, hw::Format::kF32),
      memory_(device_->context(), placed_.bytes) {
  UploadMatrix(weight, placed_.weight, memory_);
}

void DeviceOutput::Run(hw::MatrixView<const float> x, hw::MatrixView<float> logits) const {
  assert(x.rows == logits.rows && logits.cols == placed_.weight.layout.rows);
  const hw::CudaAddress base = memory_.address();
  const DeviceProduct product{.weight = &placed_.weight, .y = base + placed_.logits};
  for (size_t begin = 0; begin < x.rows; begin += kGpuOutputRows) {
    const size_t n = std::min(kGpuOutputRows, x.rows - begin);
    for (size_t i = 0; i < n; ++i)
      memory_.Upload(placed_.x + i * x.cols * sizeof(float), x.row(begin + i), x.cols * sizeof(float));
    kernels_.Products({&product, 1}, base,
                      {.x = base + placed_.x,
                       .codes = base + placed_.codes,
                       .scales = base + placed_.scales,
                       .sums = base + placed_.sums,
                       .n = n,
                       .cols = x.cols});
    device_->Wait("output matrix");
    for (size_t i = 0; i < n; ++i)
      memory_.Download(logits.row(begin + i), placed_.logits + i * logits.cols * sizeof(float),
                       logits.cols * sizeof(float));
  }
}

}  // namespace qwen3vl
