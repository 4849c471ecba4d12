// SPDX-License-Identifier: Apache-2.0
// What every measurement in rounds shares: the clock, the pause before a round, pinned threads, and the peaks
// taken in each round.
#pragma once

#include <sched.h>

#include <chrono>
#include <string>
#include <vector>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/peaks.h"
#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

// That a row has before max_variant_s may end it: with fewer, nothing that is compared could ever differ by
// more than chance (CompareOptions::alpha).
inline constexpr size_t kMinSamples = 5;

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start);

// options.note, options.check_cancelled and options.cooldown_s, where they are asked for.
void Note(const MeasureOptions& options, const std::string& line);
void CheckCancelled(const MeasureOptions& options);
void Rest(const MeasureOptions& options);

// Follows options.pin: while it lives, thread i of operations with `threads` threads is on processor
// pin[i % size], as far as the thread backend keeps its threads. Afterwards they may run where they could
// before: who asks how many processors this process may use is answered for the thread that asks.
class PinnedThreads {
 public:
  // Throws Error(kInvalidArgument) when the system refuses one of the processors.
  PinnedThreads(const MeasureOptions& options, size_t threads);
  ~PinnedThreads() { Release(); }
  PinnedThreads(const PinnedThreads&) = delete;
  PinnedThreads& operator=(const PinnedThreads&) = delete;
  void Release();  // before its end

 private:
  std::vector<cpu_set_t> before_;  // of each thread
};

// Follows options.quiet_s. Where that is 0, everything is quiet.
class QuietWatch {
 public:
  explicit QuietWatch(const MeasureOptions& options) : options_(options) {}
  // Rests until the cores are left to this process. False when so much time was lost as options.quiet_s
  // allows.
  bool Wait();
  // Whether they still are. Call it after every sample.
  bool Quiet();

 private:
  const MeasureOptions& options_;
  Clock::time_point last_ = Clock::now();  // time of the last look
  bool quiet_ = false;                     // what it showed
  double lost_s_ = 0;                      // that passed between two looks which were not both quiet
};

// The peaks of the machine, a sample of each a round.
class PeakSamples {
 public:
  explicit PeakSamples(PeakMeter* meter) : meter_(meter) {}  // null: none are taken
  void Take();
  const RoundPeaks* last() const { return rounds_.empty() ? nullptr : &rounds_.back(); }
  std::optional<Peaks> Summary() const;

 private:
  PeakMeter* meter_;
  std::vector<RoundPeaks> rounds_;
};

// That a row must have.
size_t MinSamples(const MeasureOptions& options);
// Whether it has them; where not, a note says that the row is left out.
bool HasSamples(const Row& row, const MeasureOptions& options);
// Adds a sample to `row`, with the peaks of its round; `counts` false: to its busy samples, which have none.
void AddSample(Row& row, double seconds, bool counts, const PeakSamples& peaks);
// Fills in what the end of a measurement knows: statistics, peaks, machine. `row` has its samples.
void Complete(Row& row, const PeakSamples& peaks);

}  // namespace qwen3vl::bench
