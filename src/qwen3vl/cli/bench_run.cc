// SPDX-License-Identifier: Apache-2.0
// A measurement from its options to what is printed and written.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "qwen3vl/bench/report.h"
#include "qwen3vl/cli/bench_options.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"

namespace qwen3vl::cli {
namespace {

namespace fs = std::filesystem;

// The report is written beside its place and renamed, so that an earlier one stays until the new one is
// whole; into a pipe or a device directly.
std::string DraftOf(const std::string& path) {
  std::error_code missing;
  return fs::exists(path, missing) && !fs::is_regular_file(path, missing) ? path : path + ".new";
}

[[noreturn]] void CannotWrite(const std::string& path) {
  throw Failure(kBadFile, "--report: '" + path + "' cannot be written");
}

void CheckReport(const std::string& path) {
  const std::string draft = DraftOf(path);
  if (!std::ofstream(draft, std::ios::app)) CannotWrite(path);
  std::error_code ignored;
  if (draft != path) fs::remove(draft, ignored);
}

void WriteReport(const std::string& path, const std::vector<bench::Row>& rows) {
  const std::string draft = DraftOf(path);
  std::ofstream out(draft);
  out << bench::RenderReport(rows);
  out.close();
  std::error_code problem;
  if (out && draft != path) fs::rename(draft, path, problem);
  if (!out || problem) CannotWrite(path);
}

// Hours of measuring must not end at a name that is unknown or a folder that is not there.
void CheckFirst(const BenchOptions& options) {
  for (const std::string& isa : options.isas) TakingOptions([&] { SelectInstructionSet(isa); });
  if (!options.report.empty()) CheckReport(options.report);
}

ExitCode Deliver(const std::vector<bench::Row>& rows, const BenchOptions& options, Console& console) {
  if (options.format != bench::OutputFormat::kJsonLines) console.Out(bench::Render(rows, options.format));
  if (!options.report.empty()) {
    WriteReport(options.report, rows);
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
    if (options.format == bench::OutputFormat::kJsonLines)
      console.Out(bench::ToJsonLine(row) + "\n");
    else
      SetInterruptDeadline(false);  // from here on there is something to deliver
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
