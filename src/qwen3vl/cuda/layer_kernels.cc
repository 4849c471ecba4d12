// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/layer_kernels.h"

#include <algorithm>

#include "qwen3vl/cuda/device_address.h"
#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

// In the order of LayerKernels::layer_.entries; the last one depends on the cache.
enum Entry { kRmsNorm, kQuantize, kHeads, kSwiGlu, kNarrow, kAddRows, kKeep };

std::string KeepName(hw::Format format) {
  switch (format) {
    case hw::Format::kF16:
      return "layer_keep_F16";
    case hw::Format::kBF16:
      return "layer_keep_BF16";
    case hw::Format::kQ8_0:
      return "layer_keep_Q8_0";
    default:
      return "layer_keep_F32";
  }
}

}  // namespace

hw::DeviceFunctions LoadNeeded(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                               const std::string& module, std::span<const std::string> names) {
  hw::DeviceFunctions functions = hw::LoadFunctions(device, code, module, names);
  if (!functions.failure.empty()) throw Error(ErrorCode::kDevice, functions.failure);
  return functions;
}

LayerKernels::LayerKernels(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
                           const std::set<gpu::WeightFormat>& formats, hw::Format kv_format)
    : device_(std::move(device)) {
  const std::string names[] = {"layer_rms_norm", "layer_quantize", "layer_heads",      "layer_swiglu",
                               "layer_narrow",   "layer_add_rows", KeepName(kv_format)};
  layer_ = LoadNeeded(*device_, code, "layer", names);
  for (gpu::WeightFormat format : formats) {
    ProductFunctions& p = products_[static_cast<size_t>(format)];
    p.name = std::string("product_") + NameOf(format);
    const std::string entries[] = {p.name + "_one", p.name + "_four", p.name + "_tile"};
    p.functions = LoadNeeded(*device_, code, p.name, entries);
  }
}

void LayerKernels::RmsNorm(const gpu::NormParams& params, size_t rows) const {
  Start(layer_.entries[kRmsNorm], {Count(rows)}, gpu::kNormThreads, &params, "layer_rms_norm");
}

void LayerKernels::Heads(const gpu::HeadParams& params, size_t tokens) const {
  Start(layer_.entries[kHeads], {Groups(params.heads, gpu::kHeadThreads / 32), Count(tokens)},
        gpu::kHeadThreads, &params, "layer_heads");
}

void LayerKernels::Keep(const gpu::KeepParams& params, size_t tokens) const {
  Start(layer_.entries[kKeep], {Groups(params.heads, gpu::kHeadThreads / 32), Count(tokens)},
        gpu::kHeadThreads, &params, "layer_keep");
}

void LayerKernels::SwiGlu(const gpu::SwiGluParams& params) const {
  Start(layer_.entries[kSwiGlu], {Groups(params.count, gpu::kValuesPerBlock)}, gpu::kValueThreads, &params,
        "layer_swiglu");
}

void LayerKernels::Narrow(const gpu::NarrowParams& params) const {
  Start(layer_.entries[kNarrow], {Groups(params.count, gpu::kValuesPerBlock)}, gpu::kValueThreads, &params,
        "layer_narrow");
}

void LayerKernels::AddRows(const gpu::AddRowsParams& params, size_t rows) const {
  Start(layer_.entries[kAddRows], {Groups(params.cols, gpu::kValuesPerBlock), Count(rows)},
        gpu::kValueThreads, &params, "layer_add_rows");
}

void LayerKernels::Quantize(const DeviceRows& rows) const {
  const size_t blocks = Groups(rows.cols, gpu::kBlockCols);
  const gpu::QuantizeParams params{.x = At<float>(rows.x),
                                   .q = At<unsigned>(rows.codes),
                                   .scales = At<float>(rows.scales),
                                   .sums = At<float>(rows.sums),
                                   .cols = Count(rows.cols),
                                   .padded = Count(blocks * gpu::kBlockCols)};
  Start(layer_.entries[kQuantize], {Groups(params.padded, gpu::kQuantizeCols), Count(rows.n)},
        gpu::kQuantizeThreads, &params, "layer_quantize");
}

void LayerKernels::Products(std::span<const DeviceProduct> parts, hw::CudaAddress weights,
                            const DeviceRows& rows) const {
  if (std::ranges::any_of(parts, &DeviceProduct::has_codes)) Quantize(rows);
  for (const DeviceProduct& part : parts) Product(part, weights, rows);
}

gpu::ProductParams ParamsOf(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows) {
  const DeviceWeight& weight = part.weight->layout;
  return {.weights = At<void>(weights + part.weight->at),
          .x = At<float>(rows.x),
          .q = At<unsigned>(rows.codes),
          .scales = At<float>(rows.scales),
          .sums = At<float>(rows.sums),
          .bias = part.weight->bias ? At<float>(weights + *part.weight->bias) : nullptr,
          .y = At<float>(part.y),
          .rows = Count(weight.rows),
          .cols = Count(weight.cols),
          .n = Count(rows.n),
          .blocks = Count(weight.blocks),
          .row_bytes = Count(weight.row_bytes),
          .accumulate = part.accumulate ? 1u : 0u};
}

void LayerKernels::Product(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows) const {
  const DeviceWeight& weight = part.weight->layout;
  const gpu::ProductParams params = ParamsOf(part, weights, rows);
  const ProductFunctions& p = products_[static_cast<size_t>(weight.format)];
  if (rows.n > gpu::kMaxDotTokens) {
    device_->Start(p.functions.entries[2],
                   {Groups(weight.rows, gpu::kTileRows), Groups(rows.n, gpu::kTileRows)}, gpu::kTileThreads,
                   &params, p.name + "_tile");
    return;
  }
  device_->Start(p.functions.entries[rows.n == 1 ? 0 : 1], {Groups(weight.rows, gpu::kDotRows)},
                 gpu::kDotThreads, &params, p.name + (rows.n == 1 ? "_one" : "_four"));
}

}  // namespace qwen3vl
