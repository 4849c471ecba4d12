// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/peaks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>

#include "hw/cpu_info.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kTasksPerThread = 4;  // so that a thread that starts late does not hold up the rest
constexpr size_t kReadStep = 256;      // floats
constexpr size_t kFirstIterations = 1000;
constexpr int kTries = 3;
constexpr size_t kMinRead = size_t{64} << 20, kMaxRead = size_t{1} << 30;

double Seconds(const std::function<void()>& step) {
  const auto start = std::chrono::steady_clock::now();
  step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// floats for each task of a buffer of `bytes`
size_t ReadSlice(size_t bytes, size_t n_tasks) {
  return std::max<size_t>(1, bytes / sizeof(float) / n_tasks / kReadStep) * kReadStep;
}

size_t BufferBytes(size_t asked) {
  return asked ? asked : std::clamp(4 * hw::ProbeCpu().l3_bytes, kMinRead, kMaxRead);
}

}  // namespace

PeakMeter::PeakMeter(const PeakOptions& options)
    : threads_{std::max<size_t>(1, options.threads)}, fma_seconds_(options.seconds) {
  const size_t n_tasks = kTasksPerThread * threads_.count;
  const size_t slice = ReadSlice(BufferBytes(options.read_bytes), n_tasks);
  buffer_ = hw::AlignedBuffer<float>(slice * n_tasks);
  // Written, because untouched pages all read from one page of zeros.
  hw::ParallelFor(threads_, n_tasks,
                  [&](size_t task, size_t) { std::fill_n(buffer_.data() + task * slice, slice, 1.0f); });
}

double PeakMeter::FmaGflops() {
  const auto burst = [&](size_t iterations) {
    std::atomic<double> operations{0};
    const double seconds = Seconds([&] {
      hw::ParallelFor(threads_, kTasksPerThread * threads_.count, [&](size_t task, size_t) {
        alignas(64) float state[kFmaStates];
        std::fill_n(state, kFmaStates, 1.0f + static_cast<float>(task) * 0x1p-10f);
        operations.fetch_add(RunFma(iterations, state));
      });
    });
    return std::pair{seconds, operations.load()};
  };
  const int isa = static_cast<int>(hw::SelectedIsa());
  if (fma_isa_ != isa) {
    fma_isa_ = isa;
    // The shortest of a few, because a burst that the system interrupts looks long enough.
    const auto shortest = [&] {
      double least = burst(fma_iterations_).first;
      for (int i = 1; i < kTries; ++i) least = std::min(least, burst(fma_iterations_).first);
      return least;
    };
    for (fma_iterations_ = kFirstIterations; shortest() < fma_seconds_ / 2;) fma_iterations_ *= 2;
  }
  const auto [seconds, operations] = burst(fma_iterations_);
  if (seconds < fma_seconds_ / 2) fma_iterations_ *= 2;
  return operations / seconds / 1e9;
}

double PeakMeter::ReadGbs() {
  const size_t n_tasks = kTasksPerThread * threads_.count;
  const size_t slice = buffer_.size() / n_tasks;
  std::atomic<double> bytes{0};
  const double seconds = Seconds([&] {
    hw::ParallelFor(threads_, n_tasks, [&](size_t task, size_t) {
      float sum;
      bytes.fetch_add(RunRead(buffer_.data() + task * slice, slice, &sum));
    });
  });
  return bytes.load() / seconds / 1e9;
}

}  // namespace qwen3vl::bench
