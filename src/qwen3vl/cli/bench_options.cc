// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/bench_options.h"

#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kMaxThreads = 1024, kMaxCpu = 1023, kMaxSamples = 100000, kMaxGflop = 1000000000;
constexpr double kMaxSeconds = 86400;

CLI::Option* AddTaken(CLI::App& app, const std::string& name, const std::string& help,
                      const std::string& type, std::function<void(const std::string&)> take) {
  return app.add_option_function<std::string>(name, std::move(take), help)->type_name(type);
}

}  // namespace

std::string BenchOptions::CommandTail(const std::string& isa) const {
  const bench::MeasureOptions& m = measure;
  std::string tail =
      " --samples " + std::to_string(m.samples) + " --max-seconds " + NumberText(m.max_variant_s);
  if (m.warmup != bench::MeasureOptions{}.warmup) tail += " --warmup " + std::to_string(m.warmup);
  if (m.seconds > 0) tail += " --seconds " + NumberText(m.seconds);
  if (m.quiet_s > 0) tail += " --quiet " + NumberText(m.quiet_s);
  if (m.cooldown_s > 0) tail += " --cooldown " + NumberText(m.cooldown_s);
  std::string cpus;
  for (const size_t cpu : m.pin) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
  if (!cpus.empty()) tail += " --pin " + cpus;
  if (no_peaks) tail += " --no-peaks";
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
           "skip standard attention for problems of more GFLOP; default " +
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
  const OptionGroup group(app, "Measurement");
  bench::MeasureOptions& m = o.measure;
  app.add_flag("--verbose", o.verbose, "also print informational messages");
  AddCount(app, "--threads", o.threads, "threads; default: one per physical performance core", 1,
           kMaxThreads);
  AddWords(app, "--isa", o.isas, "instruction sets to measure: baseline, sse4, avx2, avx512, avx512vnni",
           "NAME,NAME");
  AddCount(app, "--samples", m.samples, "samples of each row; default " + std::to_string(m.samples), 1,
           kMaxSamples);
  AddCount(app, "--warmup", m.warmup, "untimed calls before the samples; default 1", 1, kMaxSamples);
  AddReal(app, "--max-seconds", m.max_variant_s,
          "after " + std::to_string(bench::kMinSamples) +
              " samples, stop a row that has taken this long; default " + FormatNumber(m.max_variant_s, 0),
          0, kMaxSeconds);
  AddReal(app, "--seconds", m.seconds, "sustained speed: keep sampling for this long", 0, kMaxSeconds);
  AddReal(app, "--cooldown", m.cooldown_s, "seconds of rest before every round of samples", 0, kMaxSeconds);
  AddReal(app, "--quiet", m.quiet_s,
          "count only samples taken while nobody else uses the cores; wait up to X seconds in all for them",
          0, kMaxSeconds);
  AddCounts(app, "--pin", m.pin, "pin threads to these logical CPUs, in this order", 0, kMaxCpu);
  app.add_flag("--no-peaks", o.no_peaks, "do not measure the FMA peak and memory bandwidth");
  AddTaken(app, "--format", "table, markdown, csv, json or jsonl; default table", "FORMAT",
           [&o](const std::string& text) {
             const auto format = bench::OutputFormatFromName(text);
             if (!format)
               throw CLI::ValidationError("--format",
                                          "'" + text + "', want table, markdown, csv, json or jsonl");
             o.format = *format;
           });
  AddPath(app, "--report", o.report, "also write an HTML page with plots", "FILE.html");
  app.add_flag_callback(
      "--json", [&o] { o.format = bench::OutputFormat::kJson; }, "the same as --format json");
}

}  // namespace qwen3vl::cli
