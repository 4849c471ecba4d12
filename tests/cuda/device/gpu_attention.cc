// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/gpu_attention.h"

#include "attention/cuda/cuda_pack.h"
#include "qwen3vl/error.h"

namespace qwen3vl::test {

using attention::GpuScores;

GpuAttention::GpuAttention(const hw::CudaDevice& device, std::span<const hw::DeviceCode> code,
                           const attention::Inputs& in, GpuScores scores, size_t copies)
    : device_(device), in_(in), problem_(MakeCudaProblem(in, device.info().multiprocessors)) {
  kernels_ = attention::LoadAttentionKernels(
      device, code, problem_.head_dim, problem_.format, attention::TileOf(device.info(), {}),
      scores == GpuScores::kInt8 ? gpu::ScoreType::kInt8 : gpu::ScoreType::kF32);
  if (!kernels_.functions.failure.empty()) throw Error(ErrorCode::kDevice, kernels_.functions.failure);
  std::vector<std::byte> upload(problem_.layout.upload_bytes);
  PackInputs(in, problem_, {}, upload.data());
  for (size_t i = 0; i < copies; ++i) {
    memory_.emplace_back(device.context(), problem_.layout.bytes);
    memory_.back().Upload(0, upload.data(), upload.size());
  }
}

void GpuAttention::Run(size_t times) const {
  for (size_t i = 0; i < times; ++i)
    StartAttention(device_, kernels_, in_.shape, problem_,
                   ParamsAt(in_, problem_, memory_[i % memory_.size()].address()));
  device_.Wait("attention_" + kernels_.name);
}

std::vector<float> GpuAttention::Result() const {
  const attention::Shape& s = in_.shape;
  std::vector<std::byte> download(problem_.layout.download_bytes);
  DownloadOutputs(memory_.front(), problem_.layout, download.data());
  std::vector<float> result(s.batch * s.q_len * s.n_heads * s.head_dim);
  attention::Outputs out;
  out.out = result.data();
  UnpackOutputs(in_, problem_, download.data(), {}, out);
  return result;
}

size_t GpuBytes(const attention::Inputs& in, size_t multiprocessors) {
  return MakeCudaProblem(in, multiprocessors).layout.bytes;
}

}  // namespace qwen3vl::test
