// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kMinSamples = 3;
constexpr size_t kMaxCalls = 1 << 20;
// A call shorter than this is preceded by an untimed one in every sample: the measurement of the peaks and
// the other variants have emptied the caches, which a longer call does not feel.
constexpr double kColdMatters = 0.05;

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double TimeCalls(const Variant& v, size_t calls) {
  const auto start = Clock::now();
  for (size_t i = 0; i < calls; ++i) v.run();
  return SecondsSince(start);
}

struct Progress {
  double spent_s = 0;
  double call_s = 0;  // about
};

void CheckCancelled(const MeasureOptions& options) {
  if (options.check_cancelled) options.check_cancelled();
}

// Checks the result, warms up, and finds how many calls make a sample.
Progress Prepare(Variant& v, const MeasureOptions& options) {
  if (options.note)
    options.note(v.row.layer + " " + v.row.preset + " " + v.row.path + " " + ShapeText(v.row));
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
  return p;
}

void Sample(Variant& v, Progress& p) {
  if (p.call_s < kColdMatters) v.run();
  const double seconds = TimeCalls(v, v.row.calls_per_sample);
  v.row.samples.push_back(seconds / static_cast<double>(v.row.calls_per_sample * v.units));
  p.spent_s += seconds;
}

bool WantsMore(const Variant& v, const Progress& p, const MeasureOptions& options) {
  if (options.seconds > 0) return true;
  const size_t n = v.row.samples.size();
  return n < kMinSamples || (n < options.samples && p.spent_s < options.max_variant_s);
}

struct PeakSamples {
  std::vector<double> fma, read;

  void Take(PeakMeter& meter) {
    fma.push_back(meter.FmaGflops());
    read.push_back(meter.ReadGbs());
  }
  Peaks Summary() const {
    return {Quantile(fma, 0.5), Quantile(fma, 1), Quantile(read, 0.5), Quantile(read, 1)};
  }
};

}  // namespace

std::vector<Row> Measure(std::span<Variant> variants, const MeasureOptions& options, PeakMeter* peaks) {
  size_t threads = peaks ? peaks->threads() : 1;
  for (const Variant& v : variants) threads = std::max(threads, v.row.threads);
  if (!options.pin.empty() && !PinThreads(options.pin, threads))
    throw Error(ErrorCode::kInvalidArgument,
                "--pin: the system refuses one of these processors to this process; see the list in "
                "/proc/self/status, Cpus_allowed_list");
  std::vector<Progress> progress;
  for (Variant& v : variants) progress.push_back(Prepare(v, options));

  PeakSamples peak_samples;
  const auto start = Clock::now();
  const size_t min_rounds = std::max<size_t>(1, std::min(options.samples, kMinSamples));
  for (size_t round = 0;; ++round) {
    if (options.seconds > 0 && round >= min_rounds && SecondsSince(start) >= options.seconds) break;
    if (options.cooldown_s > 0)
      std::this_thread::sleep_for(std::chrono::duration<double>(options.cooldown_s));
    bool any = false;
    if (peaks) peak_samples.Take(*peaks);
    for (size_t i = 0; i < variants.size(); ++i) {
      const size_t which = (i + round) % variants.size();
      if (!WantsMore(variants[which], progress[which], options)) continue;
      Sample(variants[which], progress[which]);
      any = true;
      CheckCancelled(options);
    }
    if (!any) break;
  }

  const Environment environment = DescribeEnvironment();
  const MachineState after = ReadMachineState();
  std::vector<Row> rows;
  for (Variant& v : variants) {
    v.row.stats = Summarize(v.row.samples);
    if (peaks) v.row.peaks = peak_samples.Summary();
    v.row.environment = environment;
    v.row.after = after;
    if (v.finish) v.finish(v.row);
    rows.push_back(v.row);
  }
  return rows;
}

}  // namespace qwen3vl::bench
