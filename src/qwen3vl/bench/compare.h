// SPDX-License-Identifier: Apache-2.0
// `bench compare`: two results of the same measurements, row by row.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

// kTooFew: with so few samples not even sets without overlap would differ by more than chance.
enum class Verdict { kFaster, kSlower, kNoise, kTooFew };
std::string_view Name(Verdict verdict);  // "faster", "slower", "noise", "too few samples"

struct CompareOptions {
  double alpha = 0.01;       // a difference as large must be rarer than this by chance
  double min_change = 0.02;  // and the medians must differ by this share
};

// One measurement in both files: same layer, preset, shape, dtype, path, threads and instruction set.
struct Comparison {
  Row before, after;
  double speedup = 1;  // median of before over median of after
  double p = 1;        // Mann and Whitney
  Verdict verdict = Verdict::kNoise;
  // The error is more than twice that of before, against the same reference, and over 1e-6, or no number.
  bool error_grew = false;
};

struct ComparisonReport {
  std::vector<Comparison> pairs;       // in the order of the second file
  std::vector<std::string> unmatched;  // "only in the first file: ..."
  // What else the two differ by: "cpu: A in the first file, B in the second". And where the cores were.
  std::vector<std::string> differences;
};

ComparisonReport Compare(const std::vector<Row>& before, const std::vector<Row>& after,
                         const CompareOptions& options = {});

std::string ToText(const ComparisonReport& report);
std::string ToJson(const ComparisonReport& report);

}  // namespace qwen3vl::bench
