// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace qwen3vl::bench {
namespace {

constexpr size_t kExactLimit = 20;  // samples in each set up to which U is counted out

// U of the first set: pairs in which its value is the larger, ties counting half. `tie_sum` becomes the sum
// of t^3 - t over all groups of t equal values.
double RankSum(std::span<const double> a, std::span<const double> b, double* tie_sum) {
  std::vector<std::pair<double, bool>> all;
  for (const double x : a) all.emplace_back(x, true);
  for (const double x : b) all.emplace_back(x, false);
  std::ranges::sort(all);
  double ranks = 0;
  *tie_sum = 0;
  for (size_t begin = 0, end; begin < all.size(); begin = end) {
    for (end = begin; end < all.size() && all[end].first == all[begin].first;) ++end;
    const double n = static_cast<double>(end - begin);
    const double rank = (static_cast<double>(begin + end) + 1) / 2;
    for (size_t i = begin; i < end; ++i) ranks += all[i].second ? rank : 0;
    *tie_sum += n * n * n - n;
  }
  const double n = static_cast<double>(a.size());
  return ranks - n * (n + 1) / 2;
}

// The share of all orders of n and m distinct values with U <= u.
double ShareUpTo(size_t n, size_t m, size_t u) {
  // ways[i][s]: orders of the values so far in which i of them are of the first set and exceed s of the
  // others.
  std::vector<std::vector<double>> ways(n + 1, std::vector<double>(n * m + 1, 0.0));
  ways[0][0] = 1;
  for (size_t value = 0; value < n + m; ++value)
    for (size_t i = std::min(value, n) + 1; i-- > 0;) {
      const size_t others = value - i;
      std::vector<double>& now = ways[i];
      if (i < n && others <= m)
        for (size_t s = 0; s + others <= n * m; ++s) ways[i + 1][s + others] += now[s];
      if (others >= m) std::ranges::fill(now, 0.0);  // no other value is left to come next
    }
  const double total = std::accumulate(ways[n].begin(), ways[n].end(), 0.0);
  return std::accumulate(ways[n].begin(), ways[n].begin() + static_cast<std::ptrdiff_t>(u) + 1, 0.0) / total;
}

}  // namespace

double Quantile(std::span<const double> samples, double q) {
  std::vector<double> sorted(samples.begin(), samples.end());
  std::ranges::sort(sorted);
  const double at = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Stats Summarize(std::span<const double> samples) {
  const double n = static_cast<double>(samples.size());
  Stats s;
  s.min = *std::ranges::min_element(samples);
  s.median = Quantile(samples, 0.5);
  s.p95 = Quantile(samples, 0.95);
  s.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / n;
  double squares = 0;
  for (const double x : samples) squares += (x - s.mean) * (x - s.mean);
  s.stddev = samples.size() > 1 ? std::sqrt(squares / (n - 1)) : 0;
  return s;
}

double LeastMannWhitney(size_t n, size_t m) {
  double orders = 1;  // n + m over n
  for (size_t i = 1; i <= n; ++i) orders *= static_cast<double>(m + i) / static_cast<double>(i);
  return std::min(1.0, 2 / orders);
}

double MannWhitney(std::span<const double> a, std::span<const double> b) {
  double tie_sum = 0;
  const double u_a = RankSum(a, b, &tie_sum);
  const double n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double u = std::min(u_a, n * m - u_a);
  if (tie_sum == 0 && a.size() <= kExactLimit && b.size() <= kExactLimit)
    return std::min(1.0, 2 * ShareUpTo(a.size(), b.size(), static_cast<size_t>(u)));
  const double all = n + m;
  const double variance = n * m / 12 * (all + 1 - tie_sum / (all * (all - 1)));
  if (variance <= 0) return 1;  // every value is the same
  const double z = std::max(0.0, n * m / 2 - u - 0.5) / std::sqrt(variance);
  return std::erfc(z / std::sqrt(2.0));
}

}  // namespace qwen3vl::bench
