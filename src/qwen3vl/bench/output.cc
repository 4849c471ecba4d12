// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/output.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

namespace qwen3vl::bench {
namespace {

using Cells = std::vector<std::vector<std::string>>;

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string Percent(std::optional<double> share) { return share ? Format("%.1f %%", 100 * *share) : "-"; }
std::string Value(std::optional<double> value) { return value ? FormatValue(*value) : "-"; }

std::string Short(const Row& r) {
  std::string text = r.layer + " " + r.path;
  if (r.tile) text += "/" + std::to_string(r.tile);
  if (r.q_rows) text += "x" + std::to_string(r.q_rows);
  return text;
}

const std::vector<std::string> kHeader = {"layer",   "preset", "shape",  "dtype",   "thr",
                                          "isa",     "min",    "median", "p95",     "t/s",
                                          "GFLOP/s", "of FMA", "GB/s",   "of read", "error"};
constexpr size_t kTextColumns = 4;

std::vector<std::string> CellsOf(const Row& r) {
  return {Short(r),
          r.preset,
          ShapeText(r),
          r.dtype,
          std::to_string(r.threads),
          r.isa,
          FormatSeconds(r.stats.min),
          FormatSeconds(r.stats.median),
          FormatSeconds(r.stats.p95),
          Value(r.TokensPerSecond()),
          Value(r.Gflops()),
          Percent(r.FmaShare()),
          Value(r.Gbs()),
          Percent(r.ReadShare()),
          r.accuracy ? Format("%.1e", r.accuracy->rel_norm) : "-"};
}

std::string StateText(const MachineState& s) {
  return s.governor.value_or("governor unavailable") + ", " +
         (s.clock_mhz ? Format("%.0f MHz", *s.clock_mhz) : "clock unavailable") + ", " +
         (s.temperature_c ? Format("%.0f C", *s.temperature_c) : "temperature unavailable") +
         (s.throttle_events ? ", " + std::to_string(*s.throttle_events) + " throttle events" : "");
}

// Arithmetic faster than float32 can be multiplied and added; reads may exceed theirs, out of a cache.
bool ExceedsPeak(const Row& r) { return r.FmaShare().value_or(0) > 1; }

std::string QuietNote(const std::vector<Row>& rows) {
  size_t quiet = 0, busy = 0;
  for (const Row& r : rows) {
    if (!r.busy_samples) continue;
    quiet += r.samples.size();
    busy += r.busy_samples->size();
  }
  if (quiet + busy == 0) return "";
  return "quiet: " + std::to_string(quiet) + " of " + std::to_string(quiet + busy) +
         " samples began and ended while nobody else used the cores, and count\n";
}

std::string HandoverNote(const std::vector<Row>& rows) {
  const std::vector<double> all = HandoversNs(rows);
  if (all.empty()) return "";
  const auto [least, most] = std::ranges::minmax(all);
  std::string note = "core-to-core latency: " + FormatValue(least) + " to " + FormatValue(most) + " ns";
  if (most >= kCoresMoved * least)
    note +=
        "; the threads' cores were moved, as a virtual machine's are, and memory bandwidth changed with "
        "them: "
        "shares are of each round's own";
  return note + "\n";
}

std::string Escape(const std::string& text, char forbidden, const char* instead) {
  std::string out;
  for (const char c : text)
    out += c == forbidden ? std::string(instead) : std::string(1, c == '\n' ? ' ' : c);
  return out;
}

std::string Markdown(const Cells& cells) {
  std::string out;
  for (size_t row = 0; row < cells.size(); ++row) {
    for (const std::string& cell : cells[row]) out += "| " + Escape(cell, '|', "\\|") + " ";
    out += "|\n";
    for (size_t i = 0; row == 0 && i < cells[0].size(); ++i) out += i < kTextColumns ? "|---" : "|---:";
    if (row == 0) out += "|\n";
  }
  return out;
}

std::string Quoted(const std::string& text) {
  return text.find_first_of(",\"\n") == std::string::npos ? text : "\"" + Escape(text, '"', "\"\"") + "\"";
}

std::string Exact(std::optional<double> value) { return value ? Format("%.9g", *value) : "unavailable"; }
std::string Exact(std::optional<size_t> value) { return value ? std::to_string(*value) : "unavailable"; }
std::optional<size_t> Positive(size_t value) { return value ? std::optional(value) : std::nullopt; }

std::string Samples(const std::vector<double>& samples) {
  std::string out;
  for (const double s : samples) out += (out.empty() ? "" : " ") + Format("%.9g", s);
  return out;
}

std::string OfRounds(const Row& row, std::optional<double> (*value)(const RoundPeaks&)) {
  std::string out;
  for (const RoundPeaks& round : row.round_peaks) out += (out.empty() ? "" : " ") + Exact(value(round));
  return out.empty() ? "unavailable" : out;
}

struct Column {
  const char* name;
  std::string (*cell)(const Row&);
};

constexpr Column kColumns[] = {
    {"schema", [](const Row&) { return std::to_string(kRowSchema); }},
    {"layer", [](const Row& r) { return r.layer; }},
    {"preset", [](const Row& r) { return r.preset; }},
    {"shape", [](const Row& r) { return ShapeText(r); }},
    {"length", [](const Row& r) { return std::to_string(r.length); }},
    {"dtype", [](const Row& r) { return r.dtype; }},
    {"path", [](const Row& r) { return r.path; }},
    {"tile", [](const Row& r) { return Exact(Positive(r.tile)); }},
    {"q_rows", [](const Row& r) { return Exact(Positive(r.q_rows)); }},
    {"plan", [](const Row& r) { return r.plan; }},
    {"threads", [](const Row& r) { return std::to_string(r.threads); }},
    {"isa", [](const Row& r) { return r.isa; }},
    {"min_s", [](const Row& r) { return Exact(std::optional(r.stats.min)); }},
    {"median_s", [](const Row& r) { return Exact(std::optional(r.stats.median)); }},
    {"mean_s", [](const Row& r) { return Exact(std::optional(r.stats.mean)); }},
    {"stddev_s", [](const Row& r) { return Exact(std::optional(r.stats.stddev)); }},
    {"p95_s", [](const Row& r) { return Exact(std::optional(r.stats.p95)); }},
    {"samples_s", [](const Row& r) { return Samples(r.samples); }},
    {"busy_samples_s",
     [](const Row& r) { return r.busy_samples ? Samples(*r.busy_samples) : "unavailable"; }},
    {"calls_per_sample", [](const Row& r) { return std::to_string(r.calls_per_sample); }},
    {"flop", [](const Row& r) { return Exact(r.flop); }},
    {"bytes", [](const Row& r) { return Exact(r.bytes); }},
    {"formula", [](const Row& r) { return r.formula; }},
    {"gflops", [](const Row& r) { return Exact(r.Gflops()); }},
    {"gbs", [](const Row& r) { return Exact(r.Gbs()); }},
    {"tokens_per_second", [](const Row& r) { return Exact(r.TokensPerSecond()); }},
    {"peak_gflops",
     [](const Row& r) { return Exact(r.peaks ? std::optional(r.peaks->fma_gflops) : std::nullopt); }},
    {"peak_gbs",
     [](const Row& r) { return Exact(r.peaks ? std::optional(r.peaks->read_gbs) : std::nullopt); }},
    {"rounds_peak_gflops",
     [](const Row& r) {
       return OfRounds(r, [](const RoundPeaks& p) { return std::optional(p.fma_gflops); });
     }},
    {"rounds_peak_gbs",
     [](const Row& r) { return OfRounds(r, [](const RoundPeaks& p) { return std::optional(p.read_gbs); }); }},
    {"rounds_handover_ns",
     [](const Row& r) { return OfRounds(r, [](const RoundPeaks& p) { return p.handover_ns; }); }},
    {"fma_share", [](const Row& r) { return Exact(r.FmaShare()); }},
    {"fma_share_best", [](const Row& r) { return Exact(r.BestFmaShare()); }},
    {"read_share", [](const Row& r) { return Exact(r.ReadShare()); }},
    {"read_share_best", [](const Row& r) { return Exact(r.BestReadShare()); }},
    {"scratch_bytes", [](const Row& r) { return Exact(r.scratch_bytes); }},
    {"error_max_abs",
     [](const Row& r) { return Exact(r.accuracy ? std::optional(r.accuracy->max_abs) : std::nullopt); }},
    {"error_rel_norm",
     [](const Row& r) { return Exact(r.accuracy ? std::optional(r.accuracy->rel_norm) : std::nullopt); }},
    {"error_reference", [](const Row& r) { return r.accuracy ? r.accuracy->reference : "unavailable"; }},
    {"version", [](const Row& r) { return r.environment.version; }},
    {"build", [](const Row& r) { return r.environment.build; }},
    {"compiler", [](const Row& r) { return r.environment.compiler; }},
    {"flags", [](const Row& r) { return r.environment.flags; }},
    {"cpu", [](const Row& r) { return r.environment.cpu; }},
    {"governor", [](const Row& r) { return r.before.governor.value_or("unavailable"); }},
    {"clock_mhz_before", [](const Row& r) { return Exact(r.before.clock_mhz); }},
    {"clock_mhz_after", [](const Row& r) { return Exact(r.after.clock_mhz); }},
    {"temperature_c_before", [](const Row& r) { return Exact(r.before.temperature_c); }},
    {"temperature_c_after", [](const Row& r) { return Exact(r.after.temperature_c); }},
    {"command", [](const Row& r) { return r.command; }},
};

std::string Csv(const std::vector<Row>& rows) {
  std::string out;
  for (const Column& c : kColumns) out += (out.empty() ? "" : ",") + std::string(c.name);
  for (const Row& r : rows) {
    std::string line;
    for (const Column& c : kColumns) line += (&c == kColumns ? "\n" : ",") + Quoted(c.cell(r));
    out += line;
  }
  return out + "\n";
}

}  // namespace

std::vector<std::vector<std::string>> TableCells(const std::vector<Row>& rows) {
  Cells cells{kHeader};
  for (const Row& r : rows) cells.push_back(CellsOf(r));
  return cells;
}

std::string Notes(const std::vector<Row>& rows) {
  std::set<std::string> lines;
  for (const Row& r : rows) {
    const Environment& e = r.environment;
    lines.insert("machine: " + e.cpu + ", " + std::to_string(e.physical_cores) + " cores");
    lines.insert("qwen3vl " + e.version + ", " + e.build + ", " + e.compiler + ", " + e.flags);
    if (!r.plan.empty()) lines.insert("plan: " + r.plan);
    if (r.accuracy) lines.insert("error against: " + r.accuracy->reference);
  }
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  if (rows.empty()) return out;
  out += QuietNote(rows);
  if (const auto& p = rows.back().peaks)
    out += "peaks: " + FormatValue(p->fma_gflops) + " GFLOP/s, " + FormatValue(p->read_gbs) +
           " GB/s (medians, taken between the samples of the last rows)\n";
  out += HandoverNote(rows);
  if (std::ranges::any_of(rows, ExceedsPeak))
    out +=
        "a share over 100 %: products of 8 or 16 bits do more at a time than float32 multiply-adds; in a row "
        "without them, something else took the processor: repeat on a quiet machine\n";
  return out + "state: " + StateText(rows.front().before) + "; at the end: " + StateText(rows.back().after) +
         "\n";
}

std::optional<OutputFormat> OutputFormatFromName(std::string_view name) {
  if (name == "table") return OutputFormat::kTable;
  if (name == "markdown" || name == "md") return OutputFormat::kMarkdown;
  if (name == "csv") return OutputFormat::kCsv;
  if (name == "json") return OutputFormat::kJson;
  if (name == "jsonl") return OutputFormat::kJsonLines;
  return std::nullopt;
}

std::string FormatSeconds(double seconds) {
  if (seconds < 1e-3) return Format("%.2f us", seconds * 1e6);
  if (seconds < 1) return Format("%.2f ms", seconds * 1e3);
  return Format("%.2f s", seconds);
}

std::string FormatValue(double value) {
  const double magnitude = std::abs(value);
  const int digits = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 4;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string AlignedTable(const Cells& cells, size_t n_left) {
  std::vector<size_t> width(cells.empty() ? 0 : cells.front().size());
  for (const auto& row : cells)
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string out;
  for (const auto& row : cells) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (i < n_left ? row[i] + pad : pad + row[i]);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string Render(const std::vector<Row>& rows, OutputFormat format) {
  switch (format) {
    case OutputFormat::kTable:
      return AlignedTable(TableCells(rows), kTextColumns) + "\n" + Notes(rows);
    case OutputFormat::kMarkdown:
      return Markdown(TableCells(rows)) + "\n" + Notes(rows);
    case OutputFormat::kCsv:
      return Csv(rows);
    case OutputFormat::kJson:
      return ToJsonDocument(rows) + "\n";
    case OutputFormat::kJsonLines:
      break;
  }
  std::string out;
  for (const Row& row : rows) out += ToJsonLine(row) + "\n";
  return out;
}

}  // namespace qwen3vl::bench
