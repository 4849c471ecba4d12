// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "qwen3vl/bench/output.h"

namespace qwen3vl::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kErrorFloor = 1e-6;

std::string Identity(const Row& r) {
  return r.layer + " " + r.preset + " " + ShapeText(r) + " " + r.dtype + " " + r.path + " " +
         std::to_string(r.threads) + " threads " + r.isa;
}

// Rows by identity; what occurs again gets a number.
std::map<std::string, const Row*> ByIdentity(const std::vector<Row>& rows, std::vector<std::string>* order) {
  std::map<std::string, const Row*> found;
  for (const Row& row : rows) {
    const std::string name = Identity(row);
    std::string key = name;
    for (size_t n = 2; found.contains(key); ++n) key = name + " #" + std::to_string(n);
    found[key] = &row;
    order->push_back(key);
  }
  return found;
}

Comparison CompareRows(const Row& before, const Row& after, const CompareOptions& options) {
  Comparison c{before, after};
  c.p = MannWhitney(before.samples, after.samples);
  if (after.stats.median > 0) c.speedup = before.stats.median / after.stats.median;
  if (LeastMannWhitney(before.samples.size(), after.samples.size()) >= options.alpha)
    c.verdict = Verdict::kTooFew;
  else if (c.p < options.alpha && std::abs(c.speedup - 1) >= options.min_change)
    c.verdict = c.speedup > 1 ? Verdict::kFaster : Verdict::kSlower;
  if (before.accuracy && after.accuracy) {
    const double error = after.accuracy->rel_norm;
    const bool alike = after.accuracy->reference == before.accuracy->reference;
    c.error_grew =
        !std::isfinite(error) || (alike && error > kErrorFloor && error > 2 * before.accuracy->rel_norm);
  }
  return c;
}

// Empty where the cores of the threads were as far apart in both.
std::string CoresMoved(const std::vector<Row>& before, const std::vector<Row>& after) {
  const std::vector<double> a = HandoversNs(before), b = HandoversNs(after);
  if (a.empty() || b.empty()) return "";
  const double first = Quantile(a, 0.5), second = Quantile(b, 0.5);
  if (std::max(first, second) < kCoresMoved * std::min(first, second)) return "";
  return "a cache line took " + FormatValue(first) + " ns from one thread to another in the first file, " +
         FormatValue(second) +
         " in the second (medians): the cores were moved, which changes the speed of memory";
}

// One line for each fact about machine and build in which the files differ.
std::vector<std::string> Differences(const std::vector<Row>& before, const std::vector<Row>& after) {
  constexpr std::pair<const char*, std::string Environment::*> kFacts[] = {
      {"cpu", &Environment::cpu},
      {"version", &Environment::version},
      {"build", &Environment::build},
      {"compiler", &Environment::compiler},
      {"compiler flags", &Environment::flags}};
  std::vector<std::string> out;
  for (const auto& [name, fact] : kFacts) {
    const auto values = [&](const std::vector<Row>& rows) {
      std::set<std::string> found;
      for (const Row& row : rows) found.insert(row.environment.*fact);
      std::string text;
      for (const std::string& value : found) text += (text.empty() ? "" : " and ") + value;
      return text;
    };
    const std::string a = values(before), b = values(after);
    if (a != b) out.push_back(std::string(name) + ": " + a + " in the first file, " + b + " in the second");
  }
  if (const std::string moved = CoresMoved(before, after); !moved.empty()) out.push_back(moved);
  return out;
}

std::string Number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

std::string_view Name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFaster:
      return "faster";
    case Verdict::kSlower:
      return "slower";
    case Verdict::kTooFew:
      return "too few samples";
    case Verdict::kNoise:
      break;
  }
  return "noise";
}

ComparisonReport Compare(const std::vector<Row>& before, const std::vector<Row>& after,
                         const CompareOptions& options) {
  std::vector<std::string> before_order, after_order;
  const auto old_rows = ByIdentity(before, &before_order);
  const auto new_rows = ByIdentity(after, &after_order);
  ComparisonReport report;
  for (const std::string& key : after_order) {
    if (const auto it = old_rows.find(key); it != old_rows.end())
      report.pairs.push_back(CompareRows(*it->second, *new_rows.at(key), options));
    else
      report.unmatched.push_back("only in the second file: " + key);
  }
  for (const std::string& key : before_order)
    if (!new_rows.contains(key)) report.unmatched.push_back("only in the first file: " + key);
  report.differences = Differences(before, after);
  if (report.pairs.empty()) report.differences.push_back("no row is in both files");
  return report;
}

std::string ToText(const ComparisonReport& report) {
  std::vector<std::vector<std::string>> cells = {
      {"verdict", "layer", "preset", "shape", "dtype", "before", "after", "speed", "p", "error"}};
  for (const Comparison& c : report.pairs)
    cells.push_back({std::string(Name(c.verdict)), c.after.layer + " " + c.after.path, c.after.preset,
                     ShapeText(c.after), c.after.dtype, FormatSeconds(c.before.stats.median),
                     FormatSeconds(c.after.stats.median), Number("%.3fx", c.speedup), Number("%.2g", c.p),
                     c.error_grew ? "GREW" : "-"});
  std::string out = AlignedTable(cells, 5);
  for (const std::string& line : report.unmatched) out += line + "\n";
  for (const std::string& line : report.differences) out += line + "\n";
  return out;
}

std::string ToJson(const ComparisonReport& report) {
  Json pairs = Json::array();
  for (const Comparison& c : report.pairs)
    pairs.push_back({{"row", Identity(c.after)},
                     {"verdict", Name(c.verdict)},
                     {"speedup", c.speedup},
                     {"p", c.p},
                     {"before_median_s", c.before.stats.median},
                     {"after_median_s", c.after.stats.median},
                     {"error_grew", c.error_grew}});
  return Json{{"schema", kRowSchema},
              {"comparisons", pairs},
              {"unmatched", report.unmatched},
              {"differences", report.differences}}
             .dump(1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

}  // namespace qwen3vl::bench
