// SPDX-License-Identifier: Apache-2.0
// The kernels of a mixture of experts on one device, and their launches. Nothing here waits.
#pragma once

#include <array>
#include <memory>
#include <set>
#include <span>

#include "qwen3vl/cuda/expert_params.h"
#include "qwen3vl/cuda/layer_kernels.h"

namespace qwen3vl {

// The tokens of a chunk with the experts that each is routed to, as expert_params.h has them.
struct DevicePairs {
  hw::CudaAddress experts = 0, weights = 0, order = 0, tiles = 0;
  size_t n_tokens = 0, n_experts = 0, used = 0;

  size_t n() const { return n_tokens * used; }
  // Weights are streamed for each pair where experts have as few rows as a product that streams them for all.
  bool by_tiles() const { return n() > gpu::kMaxDotTokens * n_experts; }
  size_t n_tiles() const { return MaxTiles(n(), n_experts); }
  // Each expert may have one tile that is not full.
  static size_t MaxTiles(size_t n_pairs, size_t n_experts) { return n_pairs / gpu::kTileRows + n_experts; }
};

class ExpertKernels {
 public:
  // Loads what experts with these weights need. Throws Error(kDevice) or Error(kOutOfMemory).
  ExpertKernels(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
                const std::set<gpu::WeightFormat>& formats);

  // Experts and weights of every pair, and their order, from logits [n_tokens, n_experts].
  void Route(hw::CudaAddress logits, const DevicePairs& pairs) const;
  // y [pairs, rows] = x of each pair times its expert's weights, of a block that begins at `weights`; weight
  // is expert 0's, and the others follow. `rows` has a row for each pair, or one for each token, quantised
  // already where the weights have codes.
  void Product(const DeviceProduct& part, hw::CudaAddress weights, const DeviceRows& rows,
               const DevicePairs& pairs) const;
  // x [n_tokens, cols] += the weighted sum of y [pairs, cols].
  void Mix(hw::CudaAddress y, const DevicePairs& pairs, hw::CudaAddress x, size_t cols) const;

 private:
  struct ProductFunctions {
    hw::DeviceFunctions functions;  // one, tile
    std::string name;               // "experts_Q4_K"
  };

  std::shared_ptr<const hw::CudaDevice> device_;
  hw::DeviceFunctions route_;
  std::array<ProductFunctions, gpu::kWeightFormats> products_;  // by value of gpu::WeightFormat
};

}  // namespace qwen3vl
