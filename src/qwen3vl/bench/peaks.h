// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best, measured in the same process as everything that is compared with it: the
// rate of float32 multiply-adds of the instruction set in use, and the rate of reading memory. And how far
// apart the cores of the threads are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include "hw/aligned_buffer.h"
#include "hw/parallel.h"

namespace qwen3vl::bench {

struct PeakOptions {
  size_t threads = 1;
  size_t read_bytes = 0;   // buffer of the reading rate; 0: four times the last cache, 64 MiB to 1 GiB
  double seconds = 0.003;  // of one burst of multiply-adds
};

// Tells quiet values of PeakMeter::Undisturbed() from others: those within 5 % of the best one so far, since
// cores that are left alone differ (an Intel core reaches 0.99, a Zen 4 core with AVX2 0.95), or of 0.9,
// which cores that are shared stay below.
class QuietJudge {
 public:
  bool IsQuiet(double undisturbed) {
    best_ = std::max(best_, undisturbed);
    return undisturbed >= 0.95 * best_;
  }

 private:
  double best_ = 0.9;
};

class PeakMeter {
 public:
  explicit PeakMeter(const PeakOptions& options);

  // One sample each, on all threads; of multiply-adds the best of three bursts, of reads the better of two
  // ways to do it (which one that is changes with how busy memory is). A multiply-add counts as two
  // operations; where the instruction set has none (baseline, SSE4) it is a product and a sum.
  double FmaGflops();
  double ReadGbs();
  // How much of the rate of multiply-adds is left to a loop that takes its operands from the first cache, as
  // a kernel's does: about 1 on cores that nobody else uses. Another program, or another guest of the same
  // host, on the second thread of a core takes slots of loads and issue from it: 0.7 to 0.8. The lowest of
  // three bursts.
  double Undisturbed();
  bool Quiet() {
    const double undisturbed = Undisturbed();  // which begins a new judge where the instruction set is new
    return judge_.IsQuiet(undisturbed);
  }

  // Between two of the threads (handover.h); absent for one thread, and where one of them was kept waiting.
  std::optional<double> HandoverNs() const;

  size_t threads() const { return threads_.count; }

 private:
  // operations a second of a burst of `loop` on all threads
  double Burst(double (*loop)(size_t iterations)) const;
  void Calibrate();

  hw::Threads threads_;
  double fma_seconds_;
  size_t fma_iterations_ = 0;  // a task, on instruction set fma_isa_
  int fma_isa_ = -1;
  QuietJudge judge_;  // on that instruction set
  hw::AlignedBuffer<float> buffer_;
};

// The loops themselves, on the instruction set in use. Each returns the operations, or the bytes, it did.
// `state` [kFmaStates]: what the sums start from and end as (small positive numbers).
inline constexpr size_t kFmaStates = 12 * 16;
double RunFma(size_t iterations, float* state) noexcept;
// The same with 7 loads for 12 multiply-adds, `iterations` rounded down to a multiple of kLoadedSteps.
// `operands` [kLoadedSteps * kLoadedFloats], aligned to 64 bytes, is read again and again; *sum: of all
// products.
inline constexpr size_t kLoadedSteps = 4, kLoadedFloats = 64;
double RunLoadedFma(size_t iterations, const float* operands, float* sum) noexcept;
// Adds up `count` floats, a multiple of 256, into *sum: asked for ahead, as kernels do, or left to the
// processor's own prefetching.
enum class ReadWay { kAskAhead, kPlain };
double RunRead(const float* data, size_t count, ReadWay way, float* sum) noexcept;

}  // namespace qwen3vl::bench
