// SPDX-License-Identifier: Apache-2.0
// How everything is timed: results checked first, warm-up apart, then rounds in which every variant and both
// peaks of the machine are sampled once, in an order that rotates, so that a machine that slows down slows
// all of them alike.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "qwen3vl/bench/peaks.h"
#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

struct Variant {
  Row row;                           // what is run; its measured part is filled in
  std::function<void()> run;         // one call
  std::function<Accuracy()> check;   // runs it and compares; null: no accuracy
  std::function<void(Row&)> finish;  // fills in what is known after a call only; may be null
  size_t units = 1;                  // a call does the row's work so often (a sample is divided by it)
};

struct MeasureOptions {
  size_t samples = 15;
  size_t warmup = 1;            // untimed calls before the first round
  double min_sample_s = 0.005;  // shorter calls are repeated within a sample
  double max_variant_s = 5;     // after 5 samples a variant stops when it has taken so long
  double seconds = 0;           // > 0: sustained; rounds go on for so long and all samples count
  double cooldown_s = 0;        // pause before every round
  double quiet_s = 0;  // > 0: only samples between two quiet moments count, waited for so long at most
  std::function<bool()> quiet;  // whether nobody else uses the cores now; set where quiet_s is
  std::vector<size_t> pin;      // processors for the threads; empty: left to the system
  std::function<void(const std::string&)> note;  // told what is being measured; may be null
  std::function<void()> check_cancelled;         // called between samples, throws to stop; may be null
};

// Rows in the order of the variants; those are left out, with a note, that had too few quiet samples in time.
// `peaks` null: rows have no peaks.
std::vector<Row> Measure(std::span<Variant> variants, const MeasureOptions& options, PeakMeter* peaks);

}  // namespace qwen3vl::bench
