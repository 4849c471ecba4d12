// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/rounds.h"

#include <algorithm>
#include <thread>

namespace qwen3vl::bench {

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Note(const MeasureOptions& options, const std::string& line) {
  if (options.note) options.note(line);
}

void CheckCancelled(const MeasureOptions& options) {
  if (options.check_cancelled) options.check_cancelled();
}

void Rest(const MeasureOptions& options) {
  // In slices, so that a long pause can be cut short.
  constexpr double kSlice = 0.1;
  const auto start = Clock::now();
  for (double left = options.cooldown_s; left > 0; left = options.cooldown_s - SecondsSince(start)) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, kSlice)));
    CheckCancelled(options);
  }
}

void PeakSamples::Take() {
  if (!meter_) return;
  fma_.push_back(meter_->FmaGflops());
  read_.push_back(meter_->ReadGbs());
}

std::optional<Peaks> PeakSamples::Summary() const {
  if (fma_.empty()) return std::nullopt;
  return Peaks{Quantile(fma_, 0.5), Quantile(fma_, 1), Quantile(read_, 0.5), Quantile(read_, 1)};
}

void Complete(Row& row, const PeakSamples& peaks) {
  row.stats = Summarize(row.samples);
  row.peaks = peaks.Summary();
  row.environment = DescribeEnvironment();
  row.after = ReadMachineState();
}

}  // namespace qwen3vl::bench
