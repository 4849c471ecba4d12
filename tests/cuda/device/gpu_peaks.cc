// SPDX-License-Identifier: Apache-2.0
#include "cuda/device/gpu_peaks.h"

#include <algorithm>
#include <chrono>

#include "qwen3vl/error.h"

namespace qwen3vl::test {
namespace {

using Clock = std::chrono::steady_clock;

std::string Number(unsigned n) { return std::to_string(n); }

std::string Entry(const std::string& name) {
  return ".visible .entry " + name + "(\n\t.param .align 8 .b8 " + name + "_param_0[24]\n)\n{\n" +
         "\t.reg .pred %p<2>;\n\t.reg .b32 %r<32>;\n\t.reg .f32 %f<16>;\n\t.reg .b64 %rd<8>;\n" +
         "\tld.param.u64 %rd1, [" + name + "_param_0];\n\tld.param.u64 %rd2, [" + name + "_param_0+8];\n" +
         "\tld.param.u32 %r1, [" + name + "_param_0+16];\n" +
         // r4: index of the thread; rd4: its place in `out`.
         "\tmov.u32 %r2, %ctaid.x;\n\tmov.u32 %r3, %tid.x;\n\tmad.lo.s32 %r4, %r2, " + Number(kPeakThreads) +
         ", %r3;\n\tmul.wide.u32 %rd3, %r4, 4;\n\tadd.s64 %rd4, %rd2, %rd3;\n";
}

std::string EndOfTurn(const std::string& label) {
  return "\tadd.s32 %r1, %r1, -1;\n\tsetp.ne.s32 %p1, %r1, 0;\n\t@%p1 bra " + label + ";\n";
}

std::string FmaKernel() {
  std::string text = Entry("peak_fma");
  for (unsigned i = 0; i < kFmaChains; ++i) text += "\tmov.f32 %f" + Number(i) + ", 0f3F800000;\n";
  text += "\tmov.f32 %f15, 0f3F000000;\nFMA:\n";
  for (unsigned n = 0; n < kFmaUnroll; ++n)
    for (unsigned i = 0; i < kFmaChains; ++i)
      text += "\tfma.rn.f32 %f" + Number(i) + ", %f" + Number(i) + ", %f15, %f15;\n";
  text += EndOfTurn("FMA");
  for (unsigned i = 1; i < kFmaChains; ++i) text += "\tadd.rn.f32 %f0, %f0, %f" + Number(i) + ";\n";
  return text + "\tst.global.f32 [%rd4], %f0;\n\tret;\n}\n";
}

std::string ReadKernel() {
  std::string text = Entry("peak_read");
  // rd5: the thread's first 16 bytes; a block's turn is kPeakThreads * kReadWords words.
  text += "\tmul.lo.s32 %r5, %r1, " + Number(kPeakThreads * kReadWords) +
          ";\n\tmul.wide.u32 %rd5, %r2, %r5;\n\tshl.b64 %rd5, %rd5, 2;\n\tadd.s64 %rd5, %rd1, %rd5;\n"
          "\tmul.wide.u32 %rd6, %r3, 16;\n\tadd.s64 %rd5, %rd5, %rd6;\n\tmov.u32 %r6, 0;\nREAD:\n";
  const auto at = [](unsigned n) { return Number(n * kPeakThreads * 16); };
  for (unsigned group = 0; group < kReadWords / 16; ++group) {
    for (unsigned n = 0; n < 4; ++n)
      text += "\tld.global.v4.u32 {%r" + Number(10 + 4 * n) + ", %r" + Number(11 + 4 * n) + ", %r" +
              Number(12 + 4 * n) + ", %r" + Number(13 + 4 * n) + "}, [%rd5+" + at(group * 4 + n) + "];\n";
    for (unsigned n = 10; n < 26; ++n) text += "\tadd.s32 %r6, %r6, %r" + Number(n) + ";\n";
  }
  text += "\tadd.s64 %rd5, %rd5, " + at(kReadWords / 4) + ";\n" + EndOfTurn("READ");
  return text + "\tst.global.u32 [%rd4], %r6;\n\tret;\n}\n";
}

}  // namespace

std::string PeakKernels() {
  return ".version 6.0\n.target sm_61\n.address_size 64\n" + FmaKernel() + ReadKernel();
}

GpuPeaks::GpuPeaks(const hw::CudaDevice& device)
    : device_(device),
      module_(device.context(), PeakKernels().c_str()),
      fma_(module_.Find("peak_fma")),
      read_(module_.Find("peak_read")),
      blocks_(static_cast<unsigned>(device.info().multiprocessors) * 8) {
  if (!fma_ || !read_)
    throw Error(ErrorCode::kDevice,
                "the driver did not find the kernels that measure what the device can do");
  constexpr size_t kTurnBytes = size_t{kPeakThreads} * kReadWords * 4;
  // Beyond any cache, and no more than an eighth of a small device.
  const size_t wanted = std::min<size_t>(size_t{1} << 30, device.info().memory_total_bytes / 8);
  read_turns_ = static_cast<unsigned>(std::max<size_t>(1, wanted / (blocks_ * kTurnBytes)));
  in_ = hw::CudaBuffer(device.context(), blocks_ * kTurnBytes * read_turns_);
  out_ = hw::CudaBuffer(device.context(), size_t{blocks_} * kPeakThreads * 4);
}

double GpuPeaks::Seconds(hw::CudaHandle function, PeakParams params) {
  const auto run = [&](unsigned times) {
    const auto start = Clock::now();
    for (unsigned i = 0; i < times; ++i)
      device_.Start(function, {blocks_, 1, 1}, kPeakThreads, &params, "peak");
    device_.Wait("peak");
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const double once = std::min(run(1), run(1));
  const auto times = static_cast<unsigned>(std::clamp(0.01 / once, 1.0, 1000.0));
  return std::min({run(times), run(times), run(times)}) / times;
}

double GpuPeaks::FmaGflops() {
  constexpr unsigned kTurns = 1024;
  const double seconds = Seconds(fma_, {in_.address(), out_.address(), kTurns, 0});
  return 2.0 * blocks_ * kPeakThreads * kFmaChains * kFmaUnroll * kTurns / seconds * 1e-9;
}

double GpuPeaks::ReadGbs() {
  return static_cast<double>(in_.bytes()) / Seconds(read_, {in_.address(), out_.address(), read_turns_, 0}) *
         1e-9;
}

}  // namespace qwen3vl::test
