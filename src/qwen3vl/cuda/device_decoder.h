// SPDX-License-Identifier: Apache-2.0
// A run of decoder layers on one GPU: weights and keys and values stay there, hidden states come and go. All
// memory is taken at the start. Any failure of the device leaves the caller's cache and hidden states as they
// were.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/cuda_device.h"
#include "qwen3vl/cuda/decoder_memory.h"
#include "qwen3vl/cuda/expert_kernels.h"
#include "qwen3vl/cuda/gpu_code.h"
#include "qwen3vl/cuda/layer_kernels.h"
#include "qwen3vl/gpu_layers.h"

namespace qwen3vl {

// The part of a decoder that a device is to take.
struct DecoderPart {
  LayerRange range;
  attention::KvCacheShape kv;
  size_t max_rows = 0;  // more go through in several turns
  gpu::ScoreType scores = gpu::ScoreType::kF32;
};

class DeviceDecoder {
 public:
  // Loads the kernels, takes the memory and brings the weights there. Throws Error(kDevice) or
  // Error(kOutOfMemory).
  DeviceDecoder(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code, const TextConfig& config,
                const TextWeights& weights, const DecoderPart& part);

  const LayerRange& range() const { return range_; }
  const attention::KvCacheShape& kv() const { return kv_; }
  size_t max_rows() const { return memory_.at.max_rows; }
  size_t bytes() const { return memory_.total(); }  // of device memory

  // Layers `part` of range() on step.x, and their keys and values to step.cache. Throws Error, and
  // CancelledSignal; then step.x is as before, and the caller truncates the cache.
  void Run(const LayersStep& step, LayerRange part, const Runtime& runtime);
  // The first layer alone, that many times, for its speed: the result stays on the device, and step.cache as
  // it is. Precondition: no more rows than max_rows().
  void RepeatLayer(const LayersStep& step, size_t times);

 private:
  // Up to max_rows tokens of a step on their way through the layers.
  struct Chunk {
    size_t begin = 0, n = 0;  // rows of the step
    size_t pos = 0;           // rows in the cache before
  };

  void UploadWeights(const TextWeights& weights);
  void UploadChunk(const LayersStep& step, const Chunk& chunk);
  void RunLayer(size_t index, const LayersStep& step, const Chunk& chunk, size_t slot);
  void Attention(const PlacedLayer& layer, size_t index, const LayersStep& step, const Chunk& chunk,
                 size_t slot);
  // `first`: row of the activations that the chunk begins at.
  void Attend(size_t index, const LayersStep& step, const Chunk& chunk, size_t first);
  void Keep(size_t index, const Chunk& chunk, hw::CudaAddress rows, bool values);
  void Mlp(const PlacedLayer& layer, size_t n);
  void Experts(const PlacedLayer& layer, size_t n);
  void AddFeatures(size_t index, const LayersStep& step, const Chunk& chunk);
  void Fetch(const Chunk& chunk, LayerRange layers);
  void Store(const LayersStep& step, const Chunk& chunk, LayerRange layers) const;
  void Products(std::span<const DeviceProduct> parts, hw::CudaAddress x, size_t n, size_t cols);
  void ExpertProducts(std::span<const DeviceProduct> parts, const DevicePairs& pairs, const DeviceRows& rows);
  // n rows as products take them.
  DeviceRows RowsAt(hw::CudaAddress x, size_t n, size_t cols) const;

  hw::CudaAddress act(size_t offset) const { return activations_.address() + offset; }
  // New keys, or values, [n, kv_dim] of a layer on their way to the host.
  hw::CudaAddress Staged(size_t slot, size_t n, bool values) const;

  std::shared_ptr<const hw::CudaDevice> device_;
  const TextConfig& config_;
  const LayerRange range_;
  const attention::KvCacheShape kv_;
  const DecoderMemory memory_;
  LayerKernels kernels_;
  std::optional<ExpertKernels> experts_;  // of a mixture of experts
  attention::AttentionKernels attention_;
  hw::CudaBuffer weights_, cache_, activations_;
  hw::AlignedBuffer<float> staged_, x_, features_;
  std::vector<gpu::SeenRange> seen_;
};

}  // namespace qwen3vl
