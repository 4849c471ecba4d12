// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/measure.h"

#include <algorithm>
#include <cmath>

#include "qwen3vl/bench/rounds.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kMaxCalls = 1 << 20;
// A call shorter than this is preceded by an untimed one in every sample: the measurement of the peaks and
// the other variants have emptied the caches, which a longer call does not feel.
constexpr double kColdMatters = 0.05;

double TimeCalls(const Variant& v, size_t calls) {
  const auto start = Clock::now();
  for (size_t i = 0; i < calls; ++i) v.run();
  return SecondsSince(start);
}

struct Progress {
  double spent_s = 0;
  double call_s = 0;  // about
};

// Checks the result, warms up, and finds how many calls make a sample.
Progress Prepare(Variant& v, const MeasureOptions& options) {
  Note(options, v.row.layer + " " + v.row.preset + " " + v.row.path + " " + ShapeText(v.row));
  if (v.check) v.row.accuracy = v.check();
  CheckCancelled(options);
  Progress p;
  for (size_t i = 0; i < std::max<size_t>(1, options.warmup); ++i) {
    p.call_s = TimeCalls(v, 1);
    CheckCancelled(options);
  }
  const double wanted = std::ceil(options.min_sample_s / std::max(p.call_s, 1e-9));
  v.row.calls_per_sample = static_cast<size_t>(std::clamp(wanted, 1.0, static_cast<double>(kMaxCalls)));
  v.row.before = ReadMachineState();
  if (options.quiet_s > 0) v.row.busy_samples.emplace();
  return p;
}

void Sample(Variant& v, Progress& p, QuietWatch& watch, const PeakSamples& peaks) {
  if (p.call_s < kColdMatters) v.run();
  const double seconds = TimeCalls(v, v.row.calls_per_sample);
  const bool counts = watch.Quiet();
  AddSample(v.row, seconds / static_cast<double>(v.row.calls_per_sample * v.units), counts, peaks);
  if (counts) p.spent_s += seconds;
}

bool WantsMore(const Variant& v, const Progress& p, const MeasureOptions& options) {
  if (options.seconds > 0) return true;
  const size_t n = v.row.samples.size();
  return n < options.samples && (n < kMinSamples || p.spent_s < options.max_variant_s);
}

}  // namespace

std::vector<Row> Measure(std::span<Variant> variants, const MeasureOptions& options, PeakMeter* peaks) {
  size_t threads = peaks ? peaks->threads() : 1;
  for (const Variant& v : variants) threads = std::max(threads, v.row.threads);
  PinnedThreads pinned(options, threads);
  std::vector<Progress> progress;
  for (Variant& v : variants) progress.push_back(Prepare(v, options));

  PeakSamples peak_samples(peaks);
  QuietWatch watch(options);
  const auto start = Clock::now();
  const size_t min_rounds = MinSamples(options);
  for (size_t round = 0;; ++round) {
    if (options.seconds > 0 && round >= min_rounds && SecondsSince(start) >= options.seconds) break;
    Rest(options);
    if (!watch.Wait()) break;
    bool any = false;
    peak_samples.Take();
    for (size_t i = 0; i < variants.size(); ++i) {
      const size_t which = (i + round) % variants.size();
      if (!WantsMore(variants[which], progress[which], options)) continue;
      if (!watch.Wait()) break;
      Sample(variants[which], progress[which], watch, peak_samples);
      any = true;
      CheckCancelled(options);
    }
    if (!any) break;
  }

  pinned.Release();

  std::vector<Row> rows;
  for (Variant& v : variants) {
    if (!HasSamples(v.row, options)) continue;
    Complete(v.row, peak_samples);
    if (v.finish) v.finish(v.row);
    rows.push_back(v.row);
  }
  return rows;
}

}  // namespace qwen3vl::bench
