// SPDX-License-Identifier: Apache-2.0
#include "support/near.h"

#include <cmath>
#include <limits>
#include <string>

namespace qwen3vl::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Infinite when exactly one is infinite, or either is NaN.
double Distance(double found, double wanted) {
  if (found == wanted) return 0.0;
  const double d = std::fabs(found - wanted);
  return std::isnan(d) ? kInf : d;
}

template <class T>
testing::AssertionResult Compare(std::span<const float> found, std::span<const T> wanted, size_t cols,
                                 double tolerance) {
  if (found.size() != wanted.size())
    return testing::AssertionFailure() << "found " << found.size() << " values, wanted " << wanted.size();
  size_t n_far = 0, worst = 0;
  double worst_distance = -1.0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double d = Distance(found[i], wanted[i]);
    if (!(d <= tolerance)) ++n_far;
    if (d > worst_distance) {
      worst_distance = d;
      worst = i;
    }
  }
  if (n_far == 0) return testing::AssertionSuccess();
  std::string where = "[" + std::to_string(worst) + "]";
  if (cols != 0) where = "[" + std::to_string(worst / cols) + ", " + std::to_string(worst % cols) + "]";
  testing::AssertionResult result = testing::AssertionFailure();
  result.operator<<(n_far) << " of " << found.size() << " differ by more than " << tolerance << "; worst at "
                           << where << ": found " << testing::PrintToString(found[worst]) << ", wanted "
                           << testing::PrintToString(wanted[worst]) << ", difference " << worst_distance;
  return result;
}

template <class T>
double Relative(std::span<const float> found, std::span<const T> wanted) {
  if (found.size() != wanted.size()) return kInf;
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - static_cast<double>(wanted[i]);
    difference += d * d;
    norm += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
  }
  return norm > 0.0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace

testing::AssertionResult AllNear(std::span<const float> found, std::span<const float> wanted,
                                 double tolerance) {
  return Compare(found, wanted, 0, tolerance);
}

testing::AssertionResult AllNear(std::span<const float> found, std::span<const double> wanted,
                                 double tolerance) {
  return Compare(found, wanted, 0, tolerance);
}

testing::AssertionResult AllNear(std::span<const float> found, std::span<const float> wanted, size_t cols,
                                 double tolerance) {
  return Compare(found, wanted, cols, tolerance);
}

double RelativeError(std::span<const float> found, std::span<const float> wanted) {
  return Relative(found, wanted);
}

double RelativeError(std::span<const float> found, std::span<const double> wanted) {
  return Relative(found, wanted);
}

}  // namespace qwen3vl::test
