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

bool QuietWatch::Quiet() {
  const bool before = quiet_;
  quiet_ = options_.quiet_s <= 0 || options_.quiet();
  const double since_s = SecondsSince(last_);
  last_ = Clock::now();
  if (!before || !quiet_) lost_s_ += since_s;
  return quiet_;
}

bool QuietWatch::Wait() {
  constexpr auto kPause = std::chrono::milliseconds(100);
  while (!quiet_ && !Quiet()) {
    CheckCancelled(options_);
    if (lost_s_ >= options_.quiet_s) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

void PeakSamples::Take() {
  if (!meter_) return;
  RoundPeaks now;
  now.fma_gflops = meter_->FmaGflops();
  now.read_gbs = meter_->ReadGbs();
  now.handover_ns = meter_->HandoverNs();
  rounds_.push_back(now);
}

std::optional<Peaks> PeakSamples::Summary() const {
  if (rounds_.empty()) return std::nullopt;
  std::vector<double> fma, read;
  for (const RoundPeaks& round : rounds_) {
    fma.push_back(round.fma_gflops);
    read.push_back(round.read_gbs);
  }
  return Peaks{Quantile(fma, 0.5), Quantile(fma, 1), Quantile(read, 0.5), Quantile(read, 1)};
}

size_t MinSamples(const MeasureOptions& options) {
  return std::clamp<size_t>(options.samples, 1, kMinSamples);
}

bool HasSamples(const Row& row, const MeasureOptions& options) {
  const size_t wanted = row.busy_samples ? MinSamples(options) : 1, n = row.samples.size();
  if (n >= wanted) return true;
  std::string line =
      row.layer + " " + row.preset + " " + row.path + " " + ShapeText(row) + " " + row.dtype + " left out: ";
  if (row.busy_samples)
    line += std::to_string(n) + " of " + std::to_string(n + row.busy_samples->size()) +
            " samples were taken on quiet cores, want " + std::to_string(wanted) +
            "; let the machine do less, or wait longer (--quiet)";
  else
    line += "took no time that the clock shows";
  Note(options, line);
  return false;
}

void AddSample(Row& row, double seconds, bool counts, const PeakSamples& peaks) {
  (counts ? row.samples : *row.busy_samples).push_back(seconds);
  if (counts && peaks.last()) row.round_peaks.push_back(*peaks.last());
}

void Complete(Row& row, const PeakSamples& peaks) {
  row.stats = Summarize(row.samples);
  row.peaks = peaks.Summary();
  row.environment = DescribeEnvironment();
  row.after = ReadMachineState();
}

}  // namespace qwen3vl::bench
