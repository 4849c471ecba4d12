// SPDX-License-Identifier: Apache-2.0
// Variants of the measuring library as Google Benchmark programs: the result is verified once, then timed.
#pragma once

#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "qwen3vl/bench/measure.h"

namespace qwen3vl::bench {

// Registers everything that the program measures; each program has its own.
void AddAll();

// Registers `variant`; it fails, untimed, when its relative error is over `tolerance`. Counters: GFLOP/s and
// GB/s by the row's formulas, and the error.
inline void Register(const std::string& name, Variant variant, double tolerance) {
  const auto shared = std::make_shared<Variant>(std::move(variant));
  const auto verified = std::make_shared<bool>(false);
  benchmark::RegisterBenchmark(
      name.c_str(),
      [shared, verified, tolerance](benchmark::State& state) {
        Variant& v = *shared;
        if (!std::exchange(*verified, true)) v.row.accuracy = v.check();
        // Also true for NaN.
        if (!(v.row.accuracy->rel_norm <= tolerance)) {
          state.SkipWithError(
              ("error " + std::to_string(v.row.accuracy->rel_norm) + " against " + v.row.accuracy->reference)
                  .c_str());
          return;
        }
        for ([[maybe_unused]] auto _ : state) v.run();
        const double calls = static_cast<double>(state.iterations()) * static_cast<double>(v.units);
        using benchmark::Counter;
        state.counters["GFLOP/s"] = Counter(v.row.flop.value_or(NAN) * calls / 1e9, Counter::kIsRate);
        state.counters["GB/s"] = Counter(v.row.bytes.value_or(NAN) * calls / 1e9, Counter::kIsRate);
        state.counters["error"] = v.row.accuracy->rel_norm;
      })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace qwen3vl::bench
