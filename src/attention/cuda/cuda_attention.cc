// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/cuda_attention.h"

#include <new>

#include "attention/cuda/cuda_pack.h"
#include "qwen3vl/error.h"

namespace qwen3vl::attention {

PathOutcome CudaAttention::Attend(const Inputs& in, const Outputs& out, const Options& options,
                                  size_t* tile) {
  if (in.shape.batch == 0 || in.shape.q_len == 0) return {};
  if (std::string why = WhyNotOnCuda(in, out); !why.empty()) return {FallbackCause::kUnsupported, why};
  const std::lock_guard lock(mutex_);
  if (!lost_.empty()) return {FallbackCause::kDevice, lost_};
  try {
    return Run(in, out, options, tile);
  } catch (const std::bad_alloc&) {
    return {FallbackCause::kMemory, "cuda: no memory to collect the tensors in"};
  } catch (const Error& e) {
    const std::string sentence = std::string("cuda: ") + e.what();
    if (e.code() == ErrorCode::kOutOfMemory) return {FallbackCause::kMemory, sentence};
    lost_ = sentence;
    // The driver opens a context anew only when nobody holds the broken one.
    kernels_.clear();
    memory_ = {};
    device_.reset();
    return {FallbackCause::kDevice, sentence};
  }
}

void CudaAttention::OpenDevice() {
  if (device_) return;
  if (code_.empty())
    throw Error(ErrorCode::kDevice,
                "this build has no device code (" + std::string(DescribeDeviceCode()) + ")");
  device_ = std::make_unique<hw::CudaDevice>(driver_library_);
}

const AttentionKernels& CudaAttention::KernelsFor(const KernelKey& key) {
  const auto found = kernels_.find(key);
  if (found != kernels_.end()) return found->second;
  return kernels_
      .emplace(key, LoadAttentionKernels(*device_, code_, key.head_dim, key.format, key.tile, key.scores))
      .first->second;
}

PathOutcome CudaAttention::Run(const Inputs& in, const Outputs& out, const Options& options, size_t* tile) {
  OpenDevice();
  const CudaProblem problem = MakeCudaProblem(in, device_->info().multiprocessors);
  const auto scores = options.gpu_scores == GpuScores::kInt8 ? gpu::ScoreType::kInt8 : gpu::ScoreType::kF32;
  const AttentionKernels& kernels =
      KernelsFor({problem.head_dim, problem.format, TileOf(device_->info(), options.plan), scores});
  *tile = kernels.tile;
  if (!kernels.functions.failure.empty())
    return {FallbackCause::kDevice, "cuda: " + kernels.functions.failure};

  const CudaLayout& layout = problem.layout;
  const hw::Threads threads{options.plan.threads, nullptr};
  upload_.Reserve(layout.upload_bytes);
  download_.Reserve(layout.download_bytes);
  if (!PackInputs(in, problem, threads, upload_.data()))
    return {FallbackCause::kUnsupported, "cuda: v holds a value that is not finite"};
  if (layout.bytes > memory_.bytes()) {
    memory_ = {};  // before the larger one, which may need its place
    memory_ = hw::CudaBuffer(device_->context(), layout.bytes);
  }
  memory_.Upload(0, upload_.data(), layout.upload_bytes);
  StartAttention(*device_, kernels, in.shape, problem, ParamsAt(in, problem, memory_.address()));
  device_->Wait("attention_" + kernels.name);
  DownloadOutputs(memory_, layout, download_.data());
  UnpackOutputs(in, problem, download_.data(), threads, out);
  return {};
}

}  // namespace qwen3vl::attention
