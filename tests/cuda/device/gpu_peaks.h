// SPDX-License-Identifier: Apache-2.0
// What a GPU can do at best, for shares to be taken of: its rate of fp32 multiply-adds and of reading memory,
// each measured by a small kernel written in PTX.
#pragma once

#include <string>

#include "hw/cuda_device.h"

namespace qwen3vl::test {

inline constexpr unsigned kPeakThreads = 256;   // of a block
inline constexpr unsigned kFmaChains = 8;       // independent sums of a thread
inline constexpr unsigned kFmaUnroll = 32;      // multiply-adds of a sum in a turn
inline constexpr unsigned kReadWords = 4 * 16;  // 4 bytes each, that a thread reads in a turn

// Each thread does `turns` turns and writes the total to out [blocks * kPeakThreads]. peak_fma: its sums
// begin at 1 and become x * 0.5 + 0.5. peak_read: adds up `in` as integers, a block's turns lying side by
// side.
struct PeakParams {
  uint64_t in, out;
  uint32_t turns, unused;
};

std::string PeakKernels();  // PTX 6.0 for compute capability 6.1

class GpuPeaks {
 public:
  explicit GpuPeaks(const hw::CudaDevice& device);
  double FmaGflops();  // a multiply-add counts as two
  double ReadGbs();

 private:
  // The best of three runs that take 10 ms or more.
  double Seconds(hw::CudaHandle function, PeakParams params);

  const hw::CudaDevice& device_;
  hw::CudaModule module_;
  hw::CudaHandle fma_, read_;
  unsigned blocks_;
  unsigned read_turns_;
  hw::CudaBuffer in_, out_;
};

}  // namespace qwen3vl::test
