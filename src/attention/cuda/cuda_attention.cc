// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/cuda_attention.h"

#include <cmath>
#include <new>
#include <numbers>
#include <string_view>

#include "attention/cuda/cuda_pack.h"
#include "qwen3vl/error.h"

namespace qwen3vl::attention {
namespace {

std::string_view FormatName(gpu::KvFormat format) {
  switch (format) {
    case gpu::KvFormat::kF16:
      return "F16";
    case gpu::KvFormat::kQ8_0:
      return "Q8_0";
    default:
      return "F32";
  }
}

// A kernel has a tile of 128 or of 256; the prescribed one, or the one that a forced tile is nearer to.
size_t TileOf(const hw::GpuInfo& gpu, const hw::TilePlan& plan) {
  const size_t tile = plan.forced ? plan.tile : hw::ChooseTilePlan({.gpu = &gpu}, {}).tile;
  return tile <= 128 ? 128 : 256;
}

}  // namespace

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

CudaAttention::Kernels& CudaAttention::KernelsFor(const KernelKey& key) {
  const auto found = kernels_.find(key);
  return found != kernels_.end() ? found->second : kernels_.emplace(key, LoadKernels(key)).first->second;
}

// The newest code that the device can run, that its driver can compile, and that has the tile.
CudaAttention::Kernels CudaAttention::LoadKernels(const KernelKey& key) const {
  const hw::GpuInfo& gpu = device_->info();
  const unsigned compute = static_cast<unsigned>(gpu.compute_major * 10 + gpu.compute_minor);
  Kernels kernels;
  kernels.name = std::to_string(key.head_dim) + "_" + std::string(FormatName(key.format));
  kernels.failure = "no device code for " + kernels.name;
  for (const DeviceCode& code : code_) {
    if (code.compute > compute || code.head_dim != key.head_dim || code.format != key.format) continue;
    try {
      kernels.module = hw::CudaModule(device_->context(), code.ptx);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kOutOfMemory) throw;
      kernels.failure = e.what();
      continue;
    }
    kernels.prefill =
        kernels.module.Find("attention_prefill_" + kernels.name + "_tile" + std::to_string(key.tile));
    kernels.decode = kernels.module.Find("attention_decode_" + kernels.name);
    kernels.merge = kernels.module.Find("attention_merge_" + kernels.name);
    if (!kernels.prefill || !kernels.decode || !kernels.merge) continue;
    kernels.failure.clear();
    break;
  }
  return kernels;
}

PathOutcome CudaAttention::Run(const Inputs& in, const Outputs& out, const Options& options, size_t* tile) {
  OpenDevice();
  device_->context()->MakeCurrent();
  const CudaProblem problem = MakeCudaProblem(in, device_->info().multiprocessors);
  *tile = TileOf(device_->info(), options.plan);
  const Kernels& kernels = KernelsFor({problem.head_dim, problem.format, *tile});
  if (!kernels.failure.empty()) return {FallbackCause::kDevice, "cuda: " + kernels.failure};

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
  Launch(in, problem, kernels, *tile);
  memory_.Download(download_.data(), layout.out, layout.download_bytes);
  UnpackOutputs(in, problem, download_.data(), threads, out);
  return {};
}

void CudaAttention::Launch(const Inputs& in, const CudaProblem& problem, const Kernels& kernels,
                           size_t tile) const {
  const Shape& s = in.shape;
  const CudaLayout& at = problem.layout;
  const auto address = [&]<class T>(T*& pointer, size_t offset) {
    pointer = reinterpret_cast<T*>(memory_.address() + offset);
  };
  gpu::AttentionParams p{};
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
  const double scale = in.scale != 0 ? in.scale : 1 / std::sqrt(static_cast<double>(s.head_dim));
  p.score_factor = static_cast<float>(std::abs(scale) * std::numbers::log2e);
  p.q_sign = scale < 0 ? -1.0f : 1.0f;
  p.q_len = static_cast<unsigned>(s.q_len);
  p.kv_len = static_cast<unsigned>(s.kv_len);
  p.n_heads = static_cast<unsigned>(s.n_heads);
  p.n_kv_heads = static_cast<unsigned>(s.n_kv_heads);
  p.splits = problem.splits;
  p.split_rows = problem.split_rows;

  const auto heads = static_cast<unsigned>(s.n_kv_heads), batch = static_cast<unsigned>(s.batch);
  if (!problem.decode) {
    device_->Run(kernels.prefill, {problem.row_blocks, heads, batch}, static_cast<unsigned>(tile), &p,
                 "attention_prefill_" + kernels.name);
    return;
  }
  const auto rows = static_cast<unsigned>(s.q_len * (s.n_heads / s.n_kv_heads));
  device_->Run(kernels.decode, {problem.row_blocks * problem.splits, heads, batch}, gpu::kDecodeThreads, &p,
               "attention_decode_" + kernels.name);
  device_->Run(kernels.merge, {rows, heads, batch}, gpu::kMergeThreads, &p,
               "attention_merge_" + kernels.name);
}

}  // namespace qwen3vl::attention
