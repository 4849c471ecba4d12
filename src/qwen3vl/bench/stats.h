// SPDX-License-Identifier: Apache-2.0
// What is said about a set of timings, and whether two sets differ by more than chance.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace qwen3vl::bench {

struct Stats {
  double min = 0, median = 0, mean = 0, stddev = 0, p95 = 0;

  bool operator==(const Stats&) const = default;
};

// Of at least one sample. stddev is that of a sample (n - 1; 0 for one); median and p95 interpolate linearly
// between the two nearest ranks.
Stats Summarize(std::span<const double> samples);
// The value below which a share `q` (0 .. 1) of the samples lies, interpolated as above.
double Quantile(std::span<const double> samples, double q);

// Mann and Whitney 1947: the two-sided probability that two sets of independent samples differ at least as
// much as these when both come from one distribution. Exact where there are no ties and the sets are small,
// else by the normal approximation with corrections for ties and continuity. Both sets are non-empty.
double MannWhitney(std::span<const double> a, std::span<const double> b);
// The least that it can be for sets of these sizes: where all of one exceed all of the other.
double LeastMannWhitney(size_t n, size_t m);

}  // namespace qwen3vl::bench
