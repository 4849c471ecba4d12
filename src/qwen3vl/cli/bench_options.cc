// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/bench_options.h"

#include <fstream>
#include <memory>
#include <optional>

#include "qwen3vl/bench/report.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kMaxThreads = 1024, kMaxCpu = 1023, kMaxSamples = 100000, kMaxGflop = 1000000000;
constexpr double kMaxSeconds = 86400;

CLI::Option* AddTaken(CLI::App& app, const std::string& name, const std::string& help,
                      const std::string& type, std::function<void(const std::string&)> take) {
  return app.add_option_function<std::string>(name, std::move(take), help)->type_name(type);
}

void CheckReport(const std::ofstream& report, const BenchOptions& options) {
  if (!report) throw Failure(kBadFile, "--report: '" + options.report + "' cannot be written");
}

}  // namespace

std::string BenchOptions::CommandTail(const std::string& isa) const {
  std::string tail = " --samples " + std::to_string(measure.samples);
  if (measure.seconds > 0) tail += " --seconds " + FormatNumber(measure.seconds, 1);
  if (measure.cooldown_s > 0) tail += " --cooldown " + FormatNumber(measure.cooldown_s, 1);
  std::string cpus;
  for (const size_t cpu : measure.pin) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
  if (!cpus.empty()) tail += " --pin " + cpus;
  return tail + " --isa " + isa;
}

CLI::Option* AddCounts(CLI::App& app, const std::string& name, std::vector<size_t>& target,
                       const std::string& help, size_t low, size_t high) {
  return AddTaken(app, name, help, "N,N", [=, &target](const std::string& text) {
    target.clear();
    for (const std::string& item : SplitList(text, ',')) target.push_back(ParseCount(name, item, low, high));
    if (target.empty())
      throw CLI::ValidationError(name, "'" + text + "', want numbers with commas between them");
  });
}

void AddMaxStandard(CLI::App& app, bench::LayerOptions& options) {
  constexpr double kGiga = 1e9;
  AddTaken(app, "--max-standard",
           "standard attention is left out of problems with more GFLOP; default " +
               FormatNumber(options.max_standard_flop / kGiga, 0),
           "X", [&options](const std::string& text) {
             options.max_standard_flop =
                 kGiga * static_cast<double>(ParseCount("--max-standard", text, 0, kMaxGflop));
           });
}

CLI::Option* AddWords(CLI::App& app, const std::string& name, std::vector<std::string>& target,
                      const std::string& help, const std::string& type) {
  return AddTaken(app, name, help, type, [=, &target](const std::string& text) {
    target = SplitList(text, ',');
    if (target.empty())
      throw CLI::ValidationError(name, "'" + text + "', want names with commas between them");
  });
}

void AddBenchOptions(CLI::App& app, BenchOptions& o) {
  bench::MeasureOptions& m = o.measure;
  AddCount(app, "--threads", o.threads, "threads; default: the physical fast cores", 1, kMaxThreads);
  AddWords(app, "--isa", o.isas,
           "instruction sets, one after the other: baseline, sse4, avx2, avx512, avx512vnni", "NAME,NAME");
  AddCount(app, "--samples", m.samples, "timings of each row; default " + std::to_string(m.samples), 1,
           kMaxSamples);
  AddCount(app, "--warmup", m.warmup, "untimed calls before; default 1", 1, kMaxSamples);
  AddReal(app, "--max-seconds", m.max_variant_s,
          "after 3 samples a row ends when it has taken so long; default " + FormatNumber(m.max_variant_s, 0),
          0, kMaxSeconds);
  AddReal(app, "--seconds", m.seconds, "sustained: take samples for so long, however many", 0, kMaxSeconds);
  AddReal(app, "--cooldown", m.cooldown_s, "seconds of rest before every round of samples", 0, kMaxSeconds);
  AddCounts(app, "--pin", m.pin, "processors that the threads are put on, in this order", 0, kMaxCpu);
  app.add_flag("--no-peaks", o.no_peaks, "do not measure what the machine can do");
  AddTaken(app, "--format", "table, markdown, csv, json or jsonl; default table", "FORMAT",
           [&o](const std::string& text) {
             const auto format = bench::OutputFormatFromName(text);
             if (!format)
               throw CLI::ValidationError("--format",
                                          "'" + text + "', want table, markdown, csv, json or jsonl");
             o.format = *format;
           });
  app.add_option("--report", o.report, "also write one HTML page with plots")->type_name("FILE.html");
  app.add_flag_callback(
      "--json", [&o] { o.format = bench::OutputFormat::kJson; }, "the same as --format json");
}

std::vector<bench::Row> RunBench(
    const BenchOptions& options, Console& console,
    const std::function<void(const std::string& isa, const bench::MeasureOptions&, bench::PeakMeter*,
                             const Sink&)>& measure) {
  // Opened first: hours of measuring must not end at a folder that is not there.
  std::ofstream report;
  if (!options.report.empty()) {
    report.open(options.report);
    CheckReport(report, options);
  }
  bench::MeasureOptions how = options.measure;
  how.note = [&](const std::string& line) { console.Note(line); };
  how.check_cancelled = CheckInterrupted;
  std::vector<std::string> isas = options.isas;
  if (isas.empty()) isas.push_back("");
  std::vector<bench::Row> rows;
  for (const std::string& isa : isas) {
    if (!isa.empty()) TakingOptions([&] { SelectInstructionSet(isa); });
    const std::string name = TakingOptions([] { return ProbeMachine().isa; });
    std::optional<bench::PeakMeter> peaks;
    if (!options.no_peaks)
      peaks.emplace(bench::PeakOptions{.threads = bench::ThreadsOrDefault(options.threads)});
    measure(name, how, peaks ? &*peaks : nullptr, [&](const bench::Row& row) {
      rows.push_back(row);
      if (options.format == bench::OutputFormat::kJsonLines) console.Out(bench::ToJsonLine(row) + "\n");
    });
  }
  if (options.format != bench::OutputFormat::kJsonLines) console.Out(bench::Render(rows, options.format));
  if (report.is_open()) {
    report << bench::RenderReport(rows) << std::flush;
    CheckReport(report, options);
    console.Note("report in " + options.report);
  }
  return rows;
}

}  // namespace qwen3vl::cli
