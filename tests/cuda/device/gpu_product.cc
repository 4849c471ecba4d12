// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/gpu_product.h"

#include <algorithm>
#include <set>

#include "qwen3vl/cuda/device_places.h"
#include "support/near.h"

namespace qwen3vl::test {
namespace {

size_t Matrices(const ProductProblem& p) { return std::max<size_t>(1, p.n_experts); }
size_t Used(const ProductProblem& p) { return std::max<size_t>(1, p.used); }

PlacedWeight Place(const Weight& all, size_t n) {
  Weight one = all;
  one.rows /= n;
  return {.layout = LayoutOf(one)};
}

}  // namespace

GpuProduct::GpuProduct(std::shared_ptr<const hw::CudaDevice> device, std::span<const hw::DeviceCode> code,
                       const ProductProblem& p, size_t copies)
    : device_(std::move(device)),
      problem_(p),
      made_(MakeWeight(p.format, Matrices(p) * p.rows, p.cols, 5)),
      x_(SeededNormal(11, p.tokens * p.cols)),
      kernels_(device_, code, {*DeviceFormatOf(p.format)}, hw::Format::kF16),
      weight_(Place(made_.w, Matrices(p))),
      copies_(copies) {
  const DeviceWeight all = LayoutOf(made_.w);
  weights_ = hw::CudaBuffer(device_->context(), copies * all.bytes());
  for (size_t i = 0; i < copies; ++i) UploadMatrix(made_.w, {.layout = all, .at = i * all.bytes()}, weights_);

  const size_t n = p.tokens, pairs = n * Used(p), padded = weight_.layout.padded_cols();
  DevicePlaces places;
  const size_t x = places.Floats({n, p.cols}), codes = places.Take({n, padded});
  const size_t scales = places.Floats({n, padded / 32}), sums = places.Floats({n, padded / 16});
  const size_t y = places.Floats({pairs, p.rows}), logits = places.Floats({n, p.n_experts});
  const size_t experts = places.Take({pairs, sizeof(unsigned)}), weights = places.Floats({pairs});
  const size_t order = places.Take({pairs, sizeof(unsigned)});
  const size_t tiles = places.Take({DevicePairs::MaxTiles(pairs, p.n_experts), sizeof(gpu::ExpertTile)});
  activations_ = hw::CudaBuffer(device_->context(), places.end());
  activations_.Upload(x, x_.data(), x_.size() * sizeof(float));
  const auto at = [&](size_t offset) { return activations_.address() + offset; };
  rows_ = {.x = at(x), .codes = at(codes), .scales = at(scales), .sums = at(sums), .n = n, .cols = p.cols};
  product_ = {.weight = &weight_, .y = at(y)};
  if (p.n_experts == 0) return;
  pairs_ = {.experts = at(experts),
            .weights = at(weights),
            .order = at(order),
            .tiles = at(tiles),
            .n_tokens = n,
            .n_experts = p.n_experts,
            .used = p.used};
  expert_kernels_.emplace(device_, code, std::set{weight_.layout.format});
  const std::vector<float> chances = SeededNormal(3, n * p.n_experts);
  activations_.Upload(logits, chances.data(), chances.size() * sizeof(float));
  expert_kernels_->Route(at(logits), pairs_);
  device_->Wait("routing");
  experts_.resize(pairs);
  activations_.Download(experts_.data(), experts, pairs * sizeof(unsigned));
}

void GpuProduct::Run(size_t times) const {
  const size_t bytes = Matrices(problem_) * weight_.layout.bytes();
  for (size_t i = 0; i < times; ++i) {
    const hw::CudaAddress weights = weights_.address() + i % copies_ * bytes;
    if (expert_kernels_) {
      if (weight_.layout.has_codes()) kernels_.Quantize(rows_);
      expert_kernels_->Product(product_, weights, rows_, pairs_);
    } else {
      kernels_.Products({&product_, 1}, weights, rows_);
    }
  }
  device_->Wait("products");
}

double GpuProduct::Flop() const {
  return 2.0 * static_cast<double>(problem_.tokens * Used(problem_) * problem_.rows * problem_.cols);
}

double GpuProduct::Bytes() const {
  const size_t read = problem_.n_experts ? std::set(experts_.begin(), experts_.end()).size() : 1;
  const size_t floats = problem_.tokens * (problem_.cols + Used(problem_) * problem_.rows);
  return static_cast<double>(read * weight_.layout.bytes() + floats * sizeof(float));
}

double GpuProduct::Error() const {
  const size_t n = problem_.tokens * Used(problem_), rows = problem_.rows, cols = problem_.cols;
  std::vector<float> y(rows);
  activations_.Download(y.data(), product_.y - activations_.address() + (n - 1) * rows * sizeof(float),
                        rows * sizeof(float));
  const float* w = &made_.values[experts_.empty() ? 0 : experts_.back() * rows * cols];
  const float* x = &x_[x_.size() - cols];
  std::vector<double> wanted(rows);
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c) wanted[r] += double{w[r * cols + c]} * x[c];
  return RelativeError(y, wanted);
}

size_t GpuBytes(const ProductProblem& p) {
  return LayoutOf({.format = p.format, .rows = Matrices(p) * p.rows, .cols = p.cols}).bytes();
}

}  // namespace qwen3vl::test
