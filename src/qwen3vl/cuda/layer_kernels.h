// SPDX-License-Identifier: Apache-2.0
// The kernels of decoder layers on one device, and their launches. Nothing here waits: a failure of the
// device may show at a later call only.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <span>

#include "hw/device_code.h"
#include "hw/number_format.h"
#include "qwen3vl/cuda/device_weight.h"
#include "qwen3vl/cuda/layer_params.h"

namespace qwen3vl {

// Where the activations of a product lie, as floats and, once quantised, in 8 bits.
struct DeviceRows {
  hw::CudaAddress x = 0;                            // [n, cols]
  hw::CudaAddress codes = 0, scales = 0, sums = 0;  // as gpu::QuantizeParams has them
  size_t n = 0, cols = 0;
};

// One of several products of the same rows: y [n, weight->layout.rows].
struct DeviceProduct {
  const PlacedWeight* weight = nullptr;
  hw::CudaAddress y = 0;
  bool accumulate = false;  // y += instead of y =

  bool has_codes() const { return weight->layout.has_codes(); }
};

// Entry points that there must be. Throws Error(kDevice) or Error(kOutOfMemory).
hw::DeviceFunctions LoadNeeded(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                               const std::string& module, std::span<const std::string> names);

// What a launch of that product is told.
gpu::ProductParams ParamsOf(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows);

class LayerKernels {
 public:
  // Loads what layers with these weights and this cache need. Throws Error(kDevice) or Error(kOutOfMemory).
  LayerKernels(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
               const std::set<gpu::WeightFormat>& formats, hw::Format kv_format);

  void RmsNorm(const gpu::NormParams& params, size_t rows) const;
  void Heads(const gpu::HeadParams& params, size_t tokens) const;
  void Keep(const gpu::KeepParams& params, size_t tokens) const;
  void SwiGlu(const gpu::SwiGluParams& params) const;
  void Narrow(const gpu::NarrowParams& params) const;
  void AddRows(const gpu::AddRowsParams& params, size_t rows) const;
  void Quantize(const DeviceRows& rows) const;
  // y = x W^T + bias, or y +=, for each part, of weights whose block begins at `weights`. Weights with codes
  // have the rows quantised first.
  void Products(std::span<const DeviceProduct> parts, hw::CudaAddress weights, const DeviceRows& rows) const;

 private:
  struct ProductFunctions {
    hw::DeviceFunctions functions;  // one, four, tile
    std::string name;               // "product_Q4_K"
  };

  void Product(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows) const;
  void Start(hw::CudaHandle function, hw::CudaGrid grid, unsigned threads, const void* params,
             const char* name) const {
    device_->Start(function, grid, threads, params, name);
  }

  std::shared_ptr<const hw::CudaDevice> device_;
  hw::DeviceFunctions layer_;
  std::array<ProductFunctions, gpu::kWeightFormats> products_;  // by value of gpu::WeightFormat
};

}  // namespace qwen3vl
