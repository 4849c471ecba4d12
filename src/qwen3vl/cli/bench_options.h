// SPDX-License-Identifier: Apache-2.0
// What the subcommands of bench share: how to measure, and in which form the rows come out.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "qwen3vl/bench/layer.h"
#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/output.h"
#include "qwen3vl/cli/console.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

struct BenchOptions {
  bench::MeasureOptions measure;
  std::vector<std::string> isas;  // in turn; empty: the best, or what the environment says
  size_t threads = 0;             // 0: by the next member
  std::function<size_t()> default_threads = [] { return bench::ThreadsOrDefault(0); };
  bench::OutputFormat format = bench::OutputFormat::kTable;
  std::string report;  // HTML file to write; empty: none
  bool no_peaks = false;
  bool verbose = false;

  size_t PeakThreads() const { return threads ? threads : default_threads(); }
  // The options that a repeated row needs: " --samples 15 --isa avx2".
  std::string CommandTail(const std::string& isa) const;
};

// --verbose, --samples, --warmup, --max-seconds, --seconds, --cooldown, --quiet, --pin, --no-peaks, --isa,
// --threads, --format, --json, --report.
void AddBenchOptions(CLI::App& app, BenchOptions& options);
// Whole numbers with commas between them.
CLI::Option* AddCounts(CLI::App& app, const std::string& name, std::vector<size_t>& target,
                       const std::string& help, size_t low, size_t high);
// --max-standard.
void AddMaxStandard(CLI::App& app, bench::LayerOptions& options);
// Words with commas between them.
CLI::Option* AddWords(CLI::App& app, const std::string& name, std::vector<std::string>& target,
                      const std::string& help, const std::string& type);

// Calls `measure` for every instruction set asked for, with the peaks to take along, and prints the rows that
// it hands over: JSON lines at once, everything else at the end, as the report; where an error or Ctrl-C ends
// it early, those that are finished. kRuntimeError, and a line, when a result is no number.
using Sink = std::function<void(const bench::Row&)>;
using BenchStep =
    std::function<void(const std::string& isa, const bench::MeasureOptions&, bench::PeakMeter*, const Sink&)>;
ExitCode RunBench(const BenchOptions& options, Console& console, const BenchStep& measure);

}  // namespace qwen3vl::cli
