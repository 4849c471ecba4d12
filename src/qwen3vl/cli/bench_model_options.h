// SPDX-License-Identifier: Apache-2.0
// The options of the measurements of whole models.
#pragma once

#include <string>

#include "qwen3vl/cli/bench_options.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

// --model, --mmproj, --kv-type, --attention, --tile, --chunk, --exact, and the options of every measurement.
void AddWholeModelOptions(CLI::App& app, CommonOptions& common, BenchOptions& bench, bool model_required);

// The session to measure: warnings go to `console`, Ctrl-C stops it.
SessionOptions SessionFor(const CommonOptions& common, const BenchOptions& bench, Console& console);
// What repeats a row besides what the row's own command says.
std::string CommandTail(const CommonOptions& common, const BenchOptions& bench, const std::string& isa);

// Fills in the members that bench::ModelOptionsBench and bench::ImageOptionsBench have in common.
template <class Options>
void Take(const CommonOptions& common, const BenchOptions& bench, const std::string& isa, Console& console,
          Options& options) {
  options.model = common.model;
  options.mmproj = common.mmproj;
  options.session = SessionFor(common, bench, console);
  options.command_tail = CommandTail(common, bench, isa);
}

}  // namespace qwen3vl::cli
