// SPDX-License-Identifier: Apache-2.0
// One product of activations with weights on the device, of a layer or of a mixture's experts, to be run
// again and again.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "qwen3vl/cuda/expert_kernels.h"
#include "qwen3vl/cuda/quantized_weight.h"

namespace qwen3vl::test {

struct ProductProblem {
  hw::Format format;
  size_t rows, cols, tokens;
  size_t n_experts = 0, used = 0;  // of each token, where there are experts
};

class GpuProduct {
 public:
  // `copies` of the weights, used in turn, so that no cache of the device holds them. Throws Error(kDevice)
  // where `code` has no kernels for the format.
  GpuProduct(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
             const ProductProblem& problem, size_t copies);

  void Run(size_t times) const;  // with the rounding of activations to 8 bits, where weights have codes
  double Flop() const;           // of one run
  double Bytes() const;          // of weights that a token is multiplied with, activations and results
  double Error() const;          // of the last token, relative to float64 on activations that are not rounded

 private:
  const std::shared_ptr<const hw::CudaDevice> device_;
  const ProductProblem problem_;
  const MadeWeight made_;          // of all experts
  std::vector<float> x_;           // [tokens, cols]
  std::vector<unsigned> experts_;  // [tokens, used]
  LayerKernels kernels_;
  std::optional<ExpertKernels> expert_kernels_;
  PlacedWeight weight_;
  hw::CudaBuffer weights_, activations_;
  DeviceRows rows_;
  DevicePairs pairs_;
  DeviceProduct product_;
  size_t copies_;
};

// Weights of one copy on the device.
size_t GpuBytes(const ProductProblem& problem);

}  // namespace qwen3vl::test
