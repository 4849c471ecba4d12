// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/peaks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/handover.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kTasksPerThread = 4;  // so that a thread that starts late does not hold up the rest
constexpr size_t kReadStep = 256;      // floats
constexpr size_t kCalibrationIterations = 1000;
constexpr int kCalibrations = 20;
constexpr int kTries = 3;  // of a burst: the system interrupts some
// For the other thread of a handover to wake up.
constexpr std::chrono::milliseconds kHandoverPatience{2};
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

double RunFmaOnce(size_t iterations) noexcept {
  alignas(64) float state[kFmaStates];
  std::fill_n(state, kFmaStates, 1.0f);
  return RunFma(iterations, state);
}

double RunLoadedFmaOnce(size_t iterations) noexcept {
  alignas(64) float operands[kLoadedSteps * kLoadedFloats];
  std::fill_n(operands, std::size(operands), 1.0f);
  float sum;
  return RunLoadedFma(iterations, operands, &sum);
}

// So many take `seconds` on one thread. Measured on so few that the system hardly ever interrupts them, and
// the best of several counts.
size_t IterationsFor(double seconds) {
  double least = seconds;
  for (int i = 0; i < kCalibrations; ++i)
    least = std::min(least, Seconds([] { RunFmaOnce(kCalibrationIterations); }));
  return static_cast<size_t>(seconds / std::max(least, 1e-9) * kCalibrationIterations) + 1;
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

void PeakMeter::Calibrate() {
  const int isa = static_cast<int>(hw::SelectedIsa());
  if (fma_isa_ == isa) return;
  fma_iterations_ = IterationsFor(fma_seconds_ / kTasksPerThread);
  judge_ = {};
  fma_isa_ = isa;
}

double PeakMeter::Burst(double (*loop)(size_t)) const {
  std::atomic<double> operations{0};
  const double seconds = Seconds([&] {
    hw::ParallelFor(threads_, kTasksPerThread * threads_.count,
                    [&](size_t, size_t) { operations.fetch_add(loop(fma_iterations_)); });
  });
  return operations.load() / seconds;
}

double PeakMeter::FmaGflops() {
  Calibrate();
  double best = 0;
  for (int i = 0; i < kTries; ++i) best = std::max(best, Burst(RunFmaOnce));
  return best / 1e9;
}

double PeakMeter::Undisturbed() {
  Calibrate();
  double alone = 0, loaded = INFINITY;
  for (int i = 0; i < kTries; ++i) {
    alone = std::max(alone, Burst(RunFmaOnce));
    loaded = std::min(loaded, Burst(RunLoadedFmaOnce));
  }
  return loaded / alone;
}

double PeakMeter::ReadGbs() {
  const size_t n_tasks = kTasksPerThread * threads_.count;
  const size_t slice = buffer_.size() / n_tasks;
  double best = 0;
  for (const ReadWay way : {ReadWay::kAskAhead, ReadWay::kPlain}) {
    std::atomic<double> bytes{0};
    const double seconds = Seconds([&] {
      hw::ParallelFor(threads_, n_tasks, [&](size_t task, size_t) {
        float sum;
        bytes.fetch_add(RunRead(buffer_.data() + task * slice, slice, way, &sum));
      });
    });
    best = std::max(best, bytes.load() / seconds);
  }
  return best / 1e9;
}

std::optional<double> PeakMeter::HandoverNs() const {
  if (threads_.count < 2) return std::nullopt;
  SharedLine line;
  std::optional<double> ns;
  // A thread that takes both tasks waits in vain, twice.
  hw::ParallelFor({2}, 2, [&](size_t side, size_t) {
    const std::optional<double> passed = line.Pass(static_cast<int>(side), kHandoverPatience);
    if (side == 0) ns = passed;
  });
  return ns;
}

}  // namespace qwen3vl::bench
