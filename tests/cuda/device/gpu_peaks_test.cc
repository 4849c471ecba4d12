// SPDX-License-Identifier: Apache-2.0
// The measuring kernels do the work that rates are computed from; the timed attention is the right one.
#include "cuda/device/gpu_peaks.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <span>

#include "cuda/block_emulator.h"
#include "cuda/device/gpu_attention.h"
#include "cuda/fake_device.h"
#include "cuda/ptx_interpreter.h"
#include "support/near.h"

namespace qwen3vl::test {
namespace {

constexpr unsigned kBlocks = 2, kTurns = 2;

// What a kernel leaves in out, having read `in`.
std::vector<uint32_t> RunPeak(const std::string& name, const std::vector<uint32_t>& in) {
  std::vector<uint32_t> out(kBlocks * kPeakThreads);
  const PeakParams params{reinterpret_cast<uint64_t>(in.data()), reinterpret_cast<uint64_t>(out.data()),
                          kTurns, 0};
  const gpu::MemoryRange memory[] = {{params.in, in.size() * 4, false}, {params.out, out.size() * 4, true}};
  const auto kernels = gpu::ParsePtx(PeakKernels());
  gpu::Launch({kBlocks, 1, 1}, kPeakThreads,
              [&] { RunPtx(kernels.at(name), std::as_bytes(std::span(&params, 1)), memory); });
  return out;
}

TEST(GpuPeaks, MultiplyAddsStayFinite) {
  for (uint32_t bits : RunPeak("peak_fma", std::vector<uint32_t>(4)))
    EXPECT_EQ(gpu::FloatOf(bits), static_cast<float>(kFmaChains));
}

TEST(GpuPeaks, EveryWordIsReadOnce) {
  std::vector<uint32_t> in(size_t{kBlocks} * kTurns * kPeakThreads * kReadWords);
  std::iota(in.begin(), in.end(), 1u);
  const std::vector<uint32_t> out = RunPeak("peak_read", in);
  EXPECT_EQ(std::accumulate(out.begin(), out.end(), uint64_t{0}),
            std::accumulate(in.begin(), in.end(), uint64_t{0}));
}

TEST(GpuAttention, EveryCopyGivesTheResult) {
  const AttentionCase c{.name = "", .shape = {1, 1, 150, 4, 2, 64}, .causal = true};
  const AttentionTensors t(c);
  FakeCuda fake;
  const hw::CudaDevice device(FakeDriver());
  for (attention::GpuScores scores : {attention::GpuScores::kF32, attention::GpuScores::kInt8}) {
    const GpuAttention attention(device, StandInDeviceCode(), t.inputs(), scores, 2);
    attention.Run(3);
    EXPECT_LE(RelativeError(attention.Result(), Reference(t, t.k, t.v).out), 2e-6);
  }
}

}  // namespace
}  // namespace qwen3vl::test
