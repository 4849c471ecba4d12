// SPDX-License-Identifier: Apache-2.0
// A measurement from its options to what is printed and written.
#include <cmath>
#include <optional>

#include "qwen3vl/bench/report.h"
#include "qwen3vl/cli/bench_options.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/whole_file.h"

namespace qwen3vl::cli {
namespace {

// --report before what is wrong with its file.
template <class Step>
void OnReport(Step&& step) {
  try {
    step();
  } catch (const Error& e) {
    throw Error(e.code(), std::string("--report: ") + e.what());
  }
}

// Hours of measuring must not end at a name that is unknown or a folder that is not there.
void CheckFirst(const BenchOptions& options) {
  for (const std::string& isa : options.isas) TakingOptions([&] { SelectInstructionSet(isa); });
  if (!options.report.empty()) OnReport([&] { CheckCanWrite(options.report); });
}

ExitCode Deliver(const std::vector<bench::Row>& rows, const BenchOptions& options, Console& console) {
  if (options.format != bench::OutputFormat::kJsonLines) console.Out(bench::Render(rows, options.format));
  if (!options.report.empty()) {
    OnReport([&] { WriteWholeFile(options.report, bench::RenderReport(rows)); });
    console.Note("report in " + options.report);
  }
  ExitCode code = kDone;
  for (const bench::Row& row : rows) {
    if (!row.accuracy || std::isfinite(row.accuracy->rel_norm)) continue;
    console.Note("WRONG RESULT: " + row.layer + " " + row.preset + " " + row.path + " " + ShapeText(row) +
                 " gave values that are no numbers; its times mean nothing");
    code = kRuntimeError;
  }
  return code;
}

}  // namespace

ExitCode RunBench(const BenchOptions& options, Console& console, const BenchStep& measure) {
  console.verbose = options.verbose;
  CheckFirst(options);
  bench::MeasureOptions how = options.measure;
  how.note = [&](const std::string& line) { console.Note(line); };
  how.check_cancelled = CheckInterrupted;
  std::vector<std::string> isas = options.isas;
  if (isas.empty()) isas.push_back("");
  std::vector<bench::Row> rows;
  const Sink sink = [&](const bench::Row& row) {
    rows.push_back(row);
    if (options.format == bench::OutputFormat::kJsonLines) console.Out(bench::ToJsonLine(row) + "\n");
    // From here on there is something to deliver.
    if (options.format != bench::OutputFormat::kJsonLines || !options.report.empty())
      SetInterruptDeadline(false);
  };
  try {
    for (const std::string& isa : isas) {
      if (!isa.empty()) TakingOptions([&] { SelectInstructionSet(isa); });
      const std::string name = TakingOptions([] { return ProbeMachine().isa; });
      std::optional<bench::PeakMeter> peaks;
      if (!options.no_peaks || how.quiet_s > 0)
        peaks.emplace(bench::PeakOptions{.threads = options.PeakThreads()});
      how.quiet = [&] { return peaks->Quiet(); };
      measure(name, how, options.no_peaks ? nullptr : &*peaks, sink);
    }
  } catch (...) {
    if (!rows.empty()) Deliver(rows, options, console);
    throw;
  }
  if (rows.empty()) throw Failure(kRuntimeError, "nothing was measured, for the reasons above");
  return Deliver(rows, options, console);
}

}  // namespace qwen3vl::cli
