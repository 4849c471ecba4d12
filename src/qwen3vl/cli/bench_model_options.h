// SPDX-License-Identifier: Apache-2.0
// The options of the measurements of whole models.
#pragma once

#include <string>

#include "qwen3vl/bench/model.h"
#include "qwen3vl/cli/bench_options.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

// --model, --mmproj, --kv-type, --attention, --gpu-layers, --gpu-vision, --repack, --tile, --chunk, --exact,
// and the options of every measurement.
void AddWholeModelOptions(CLI::App& app, CommonOptions& common, BenchOptions& bench, bool model_required);

// The session to measure: warnings go to `console`, Ctrl-C stops it.
SessionOptions SessionFor(const CommonOptions& common, const BenchOptions& bench, Console& console);
// What repeats a row besides what the row's own command says.
std::string CommandTail(const CommonOptions& common, const BenchOptions& bench, const std::string& isa);

// Fills in what bench::ModelOptionsBench and bench::ImageOptionsBench have in common, and runs `measure` (
// bench::RunModel, bench::RunImage) with it once for each instruction set.
template <class Options, class Measure>
ExitCode RunWholeModel(const CommonOptions& common, BenchOptions& bench, Options& options, Console& console,
                       const Measure& measure) {
  options.model = common.model;
  options.load = LoadOptions(common);
  options.load.log = console.Log();
  // A first look without the options tells a bad file from bad usage.
  ReadingFiles([&] { InspectModel(common.model, {.mmproj = common.mmproj, .session = {}}); });
  if (common.session.use_tuning)
    bench.default_threads = [&] { return bench::ThreadsOfModel(common.model, common.mmproj); };
  return RunBench(bench, console,
                  [&](const std::string& isa, const bench::MeasureOptions& how, bench::PeakMeter* peaks,
                      const Sink& sink) {
                    options.session = SessionFor(common, bench, console);
                    options.command_tail = CommandTail(common, bench, isa);
                    try {
                      measure(options, how, peaks, sink);
                    } catch (const Error& e) {
                      if (e.code() != ErrorCode::kInvalidArgument) throw;
                      throw Failure(kBadUsage, e.what());  // a length or a size that the model cannot take
                    }
                  });
}

}  // namespace qwen3vl::cli
