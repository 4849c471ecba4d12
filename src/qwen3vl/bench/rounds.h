// SPDX-License-Identifier: Apache-2.0
// What every measurement in rounds shares: the clock, the pause before a round, pinned threads, and the peaks
// taken in each round.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/peaks.h"
#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

inline constexpr size_t kMinSamples = 3;  // that a row has before max_variant_s may end it

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start);

// options.note, options.check_cancelled and options.cooldown_s, where they are asked for.
void Note(const MeasureOptions& options, const std::string& line);
void CheckCancelled(const MeasureOptions& options);
void Rest(const MeasureOptions& options);
// Follows options.pin. Throws Error(kInvalidArgument) when the system refuses one of the processors.
void Pin(const MeasureOptions& options, size_t threads);

// The peaks of the machine, a sample of each a round.
class PeakSamples {
 public:
  explicit PeakSamples(PeakMeter* meter) : meter_(meter) {}  // null: none are taken
  void Take();
  std::optional<Peaks> Summary() const;

 private:
  PeakMeter* meter_;
  std::vector<double> fma_, read_;
};

// Fills in what the end of a measurement knows: statistics, peaks, machine. `row` has its samples.
void Complete(Row& row, const PeakSamples& peaks);

}  // namespace qwen3vl::bench
