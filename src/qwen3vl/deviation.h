// SPDX-License-Identifier: Apache-2.0
// How far a result is from its reference. NaN is the worst of all and must not get lost on the way: every
// comparison with it is false, and std::max(0.0, NaN) is 0.
#pragma once

#include <cmath>

namespace qwen3vl {

inline bool Worse(double a, double b) { return std::isnan(a) || a > b; }
inline double WorstOf(double a, double b) { return Worse(a, b) ? a : b; }

// Summed up value by value.
struct Deviation {
  double max_abs = 0;
  double difference = 0, norm = 0;  // sums of squares: of the differences, of the reference

  void Add(double found, double wanted) {
    const double delta = found - wanted;
    max_abs = WorstOf(std::abs(delta), max_abs);
    difference += delta * delta;
    norm += wanted * wanted;
  }
  // Euclidean norm of the differences over that of the reference; infinite where only the reference is zero.
  double rel_norm() const { return difference == 0 ? 0 : std::sqrt(difference / norm); }
};

}  // namespace qwen3vl
