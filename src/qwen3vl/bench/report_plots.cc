// SPDX-License-Identifier: Apache-2.0
// Which rows make which points.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "qwen3vl/bench/output.h"
#include "qwen3vl/bench/report.h"

namespace qwen3vl::bench {
namespace {

bool IsWhole(const Row& r) { return r.layer.starts_with("model.") || r.layer.starts_with("image."); }
bool IsStep(const Row& r) { return r.layer == "attention.decode"; }

// What a line of a plot has in common.
std::string SeriesName(const Row& r) {
  return r.preset + ", " + r.path + ", " + r.dtype + ", " + r.isa + ", " + std::to_string(r.threads) +
         (r.threads == 1 ? " thread" : " threads");
}

std::string PointTitle(const Row& r, const std::string& value) {
  return r.layer + ", " + SeriesName(r) + "\n" + ShapeText(r) + "\n" + value + ", " +
         FormatSeconds(r.stats.median);
}

// Appends a point to the line it belongs to, or begins one.
void Add(const std::string& name, const PlotPoint& point, Plot& plot) {
  auto it = std::ranges::find(plot.series, name, &PlotSeries::name);
  if (it == plot.series.end()) it = plot.series.insert(plot.series.end(), PlotSeries{.name = name});
  it->points.push_back(point);
}

// Lengths on a logarithmic axis. A depth of 0 stands left of the smallest other one.
class LengthAxis {
 public:
  explicit LengthAxis(const std::vector<const Row*>& rows) {
    for (const Row* r : rows) lengths_.insert(r->length);
  }
  double At(size_t length) const {
    if (length > 0) return static_cast<double>(length);
    const auto positive = lengths_.upper_bound(0);
    return positive == lengths_.end() ? 1.0 : static_cast<double>(*positive) / 4;
  }
  std::vector<std::pair<double, std::string>> Ticks() const {
    std::vector<std::pair<double, std::string>> ticks;
    for (const size_t length : lengths_) ticks.emplace_back(At(length), std::to_string(length));
    return ticks;
  }
  double first() const { return At(*lengths_.begin()); }
  double last() const { return At(*lengths_.rbegin()); }

 private:
  std::set<size_t> lengths_;
};

struct Speed {
  const char* unit;
  std::optional<double> value, limit;
};

Speed SpeedOf(const Row& r) {
  if (IsWhole(r)) return {"tokens/s", r.TokensPerSecond(), std::nullopt};
  if (IsStep(r)) return {"GB/s", r.Gbs(), r.peaks ? std::optional(r.peaks->read_gbs) : std::nullopt};
  return {"GFLOP/s", r.Gflops(), r.peaks ? std::optional(r.peaks->fma_gflops) : std::nullopt};
}

// Limits of the machine, by instruction set and threads: the median over the rows.
using Limits = std::map<std::string, std::vector<double>>;

std::string LimitName(const char* what, const Row& r) {
  return std::string(what) + ", " + r.isa + ", " + std::to_string(r.threads) +
         (r.threads == 1 ? " thread" : " threads");
}

void AddLimits(const Limits& limits, const LengthAxis& axis, Plot& plot) {
  if (axis.first() == axis.last()) return;
  for (const auto& [name, values] : limits) {
    const double y = Quantile(values, 0.5);
    plot.series.push_back({.name = name + ": " + FormatValue(y),
                           .points = {{axis.first(), y, ""}, {axis.last(), y, ""}},
                           .guide = true});
  }
}

// Rows of each kind of layer, in the order in which the kinds first occur.
std::vector<std::vector<const Row*>> ByLayer(const std::vector<Row>& rows) {
  std::vector<std::vector<const Row*>> groups;
  for (const Row& r : rows) {
    auto it = std::ranges::find_if(groups, [&](const auto& g) { return g.front()->layer == r.layer; });
    if (it == groups.end()) it = groups.emplace(groups.end());
    it->push_back(&r);
  }
  return groups;
}

std::string LengthLabel(const Row& r) {
  if (r.layer.starts_with("model.")) return "tokens in the cache before";
  if (r.layer.starts_with("image.")) return "image tokens";
  return r.layer.starts_with("attention.") ? "keys" : "rows";
}

// A line that begins at (x, y) and grows as the power `slope` of x, up to `last`.
PlotSeries Guide(const std::string& name, double x, double y, double last, double slope) {
  const double end = slope == 1 ? y * last / x : y * (last / x) * (last / x);
  return {.name = name, .points = {{x, y, ""}, {last, end, ""}}, .guide = true};
}

Plot MemoryPlot(const char* title, const std::vector<const Row*>& rows, double (*bytes_of)(const Row&)) {
  const LengthAxis axis(rows);
  Plot plot{.title = title, .x_label = "keys", .y_label = "bytes", .x_ticks = axis.Ticks()};
  double least = INFINITY;
  for (const Row* r : rows) {
    const double bytes = bytes_of(*r);
    least = std::min(least, bytes);
    Add(SeriesName(*r), {axis.At(r->length), bytes, PointTitle(*r, FormatValue(bytes / (1 << 20)) + " MiB")},
        plot);
  }
  if (axis.first() != axis.last()) {
    plot.series.push_back(Guide("as the length", axis.first(), least, axis.last(), 1));
    plot.series.push_back(Guide("as its square", axis.first(), least, axis.last(), 2));
  }
  return plot;
}

}  // namespace

std::vector<Plot> SpeedPlots(const std::vector<Row>& rows) {
  std::vector<Plot> plots;
  for (const auto& group : ByLayer(rows)) {
    const LengthAxis axis(group);
    Plot plot{.title = "Speed of " + group.front()->layer,
              .x_label = LengthLabel(*group.front()),
              .y_label = SpeedOf(*group.front()).unit,
              .x_ticks = axis.Ticks()};
    Limits limits;
    for (const Row* r : group) {
      const Speed speed = SpeedOf(*r);
      if (!speed.value) continue;
      Add(SeriesName(*r),
          {axis.At(r->length), *speed.value, PointTitle(*r, FormatValue(*speed.value) + " " + speed.unit)},
          plot);
      if (speed.limit) limits[LimitName("peak", *r)].push_back(*speed.limit);
    }
    AddLimits(limits, axis, plot);
    if (!plot.series.empty()) plots.push_back(plot);
  }
  return plots;
}

std::vector<Plot> MemoryPlots(const std::vector<Row>& rows) {
  std::vector<const Row*> known;
  for (const Row& r : rows)
    if (r.layer == "attention.prefill" && r.scratch_bytes && r.bytes) known.push_back(&r);
  if (known.empty()) return {};
  return {MemoryPlot("Memory of attention: inputs, output and scratch", known,
                     [](const Row& r) { return *r.bytes + static_cast<double>(*r.scratch_bytes); }),
          MemoryPlot("Scratch of attention alone", known,
                     [](const Row& r) { return static_cast<double>(*r.scratch_bytes); })};
}

std::vector<Plot> RooflinePlots(const std::vector<Row>& rows) {
  Plot plot{.title = "Roofline", .x_label = "FLOP a byte", .y_label = "GFLOP/s"};
  struct Roof {
    std::vector<double> fma, read;
  };
  std::map<std::string, Roof> roofs;
  double low = INFINITY, high = 0;
  for (const Row& r : rows) {
    if (!r.Gflops() || !r.bytes || *r.bytes <= 0 || !r.peaks) continue;
    const double intensity = *r.flop / *r.bytes;
    low = std::min(low, intensity);
    high = std::max(high, intensity);
    Add(r.layer + ", " + r.path,
        {intensity, *r.Gflops(), PointTitle(r, FormatValue(*r.Gflops()) + " GFLOP/s")}, plot);
    Roof& roof = roofs[LimitName("peaks", r)];
    roof.fma.push_back(r.peaks->fma_gflops);
    roof.read.push_back(r.peaks->read_gbs);
  }
  if (plot.series.empty()) return {};
  for (PlotSeries& s : plot.series) s.line = false;
  for (const auto& [name, roof] : roofs) {
    const double fma = Quantile(roof.fma, 0.5), read = Quantile(roof.read, 0.5), ridge = fma / read;
    PlotSeries s{.name = name + ": " + FormatValue(fma) + " GFLOP/s, " + FormatValue(read) + " GB/s",
                 .guide = true};
    const double left = std::min(low, ridge / 2), right = std::max(high, ridge * 2);
    s.points = {{left, left * read, ""}, {ridge, fma, ""}, {right, fma, ""}};
    plot.series.push_back(s);
  }
  return {plot};
}

}  // namespace qwen3vl::bench
