// SPDX-License-Identifier: Apache-2.0
// The vision tower on one GPU: weights stay there, embedded patches go up, features come down. Room for
// pictures of a certain size is taken at the start; a larger one takes more when it comes.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "hw/cuda_device.h"
#include "qwen3vl/cuda/gpu_code.h"
#include "qwen3vl/cuda/layer_kernels.h"
#include "qwen3vl/cuda/vision_kernels.h"
#include "qwen3vl/cuda/vision_memory.h"
#include "qwen3vl/gpu_tower.h"
#include "qwen3vl/vision.h"

namespace qwen3vl {

class DeviceVision {
 public:
  // Loads the kernels, takes the memory and brings the weights there. Throws Error(kDevice) or
  // Error(kOutOfMemory).
  DeviceVision(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code, const VisionConfig& config,
               const VisionWeights& weights, size_t max_patches, gpu::ScoreType scores);

  size_t bytes() const { return weights_.bytes() + activations_.bytes(); }  // of device memory

  // Throws Error and CancelledSignal; features are then void. Error(kOutOfMemory) leaves the tower fit for
  // smaller pictures.
  void Encode(const VisionStep& step, VisualFeatures& features, const Runtime& runtime);
  // Block `index` alone, that many times, for its speed; its result stays on the device. As many patches as
  // there is room for.
  void RepeatBlock(size_t index, const VisionStep& step, size_t times);

 private:
  // Whole segments of a step that are on the device together.
  struct Group {
    size_t begin = 0, n = 0;          // patches
    std::span<const size_t> borders;  // of its segments, in patches of the step
  };

  void UploadWeights(const VisionWeights& weights);
  std::vector<Group> Split(const VisionStep& step);
  void MakeRoomFor(size_t patches);
  void UploadGroup(const VisionStep& step, const Group& group);
  void Block(size_t index, size_t n);
  void KeysAndValues(const PlacedVisionLayer& layer, size_t begin, size_t rows, size_t n);
  void Attend(size_t begin, size_t rows, size_t n);
  void Mlp(const PlacedVisionLayer& layer, size_t begin, size_t rows);
  void LayerNorm(const PlacedNorm& norm, hw::CudaAddress x, size_t rows, size_t cols);
  void Product(const PlacedWeight& weight, hw::CudaAddress x, size_t rows, hw::CudaAddress y,
               bool accumulate = false);
  // Merged tokens of the group to `out` [n / merge_size^2, out_dim].
  void Merge(const PlacedMerger& merger, bool norm_before_concat, const Group& group, float* out);
  void TraceBlock(const VisionStep& step, size_t index, const Group& group, const Runtime& runtime);

  hw::CudaAddress act(size_t offset) const { return activations_.address() + offset; }
  hw::CudaAddress x_row(size_t i) const { return act(at_.x) + i * config_.dim * sizeof(float); }
  hw::CudaAddress vector(size_t offset) const { return weights_.address() + offset; }

  std::shared_ptr<const hw::CudaDevice> device_;
  const VisionConfig& config_;
  const VisionWeightPlaces placed_;
  VisionActivationPlaces at_;
  LayerKernels layer_kernels_;
  VisionKernels kernels_;
  attention::AttentionKernels attention_;
  hw::CudaBuffer weights_, activations_;
};

}  // namespace qwen3vl
