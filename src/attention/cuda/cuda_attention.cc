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
  return kernels_.emplace(key, LoadAttentionKernels(*device_, code_, key.head_dim, key.format, key.tile))
      .first->second;
}

PathOutcome CudaAttention::Run(const Inputs& in, const Outputs& out, const Options& options, size_t* tile) {
  OpenDevice();
  device_->context()->MakeCurrent();
  const CudaProblem problem = MakeCudaProblem(in, device_->info().multiprocessors);
  const AttentionKernels& kernels =
      KernelsFor({problem.head_dim, problem.format, TileOf(device_->info(), options.plan)});
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
  StartAttention(*device_, kernels, in.shape, problem, Place(in, problem));
  device_->Wait("attention_" + kernels.name);
  memory_.Download(download_.data(), layout.out, layout.download_bytes);
  UnpackOutputs(in, problem, download_.data(), threads, out);
  return {};
}

gpu::AttentionParams CudaAttention::Place(const Inputs& in, const CudaProblem& problem) const {
  const CudaLayout& at = problem.layout;
  gpu::AttentionParams p = ParamsOf(in, problem);
  const auto address = [&]<class T>(T*& pointer, size_t offset) {
    pointer = reinterpret_cast<T*>(memory_.address() + offset);
  };
  address(p.q, at.q);
  p.k = reinterpret_cast<const void*>(memory_.address() + at.k);
  p.v = reinterpret_cast<const void*>(memory_.address() + at.v);
  address(p.k_scales, at.k_scales);
  address(p.v_scales, at.v_scales);
  address(p.seen, at.seen);
  address(p.out, at.out);
  address(p.stats, at.stats);
  address(p.partial, at.partial);
  address(p.partial_stats, at.partial_stats);
  return p;
}

}  // namespace qwen3vl::attention
