// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace qwen3vl::bench {
namespace {

constexpr double kWidth = 720, kHeight = 400;
constexpr double kLeft = 78, kRight = 16, kTop = 14, kBottom = 52;
constexpr double kTickGap = 28;  // x labels closer than this are left out
constexpr size_t kColours = 8;

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

// "0.5", "20", "3 k", "7 M": a number of one digit and a power of ten.
std::string TickText(double value) {
  constexpr std::pair<double, const char*> kUnits[] = {{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}};
  char text[32];
  for (const auto& [unit, name] : kUnits)
    if (value >= unit) {
      std::snprintf(text, sizeof text, "%.3g%s", value / unit, name);
      return text;
    }
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

// Values low .. high on a line of pixels, by their logarithm.
struct Axis {
  double low = 1, high = 10;
  double from = 0, to = 1;  // pixels

  double At(double value) const { return from + (to - from) * std::log(value / low) / std::log(high / low); }
  bool Holds(double value) const { return value >= low * 0.999 && value <= high * 1.001; }
};

struct Range {
  double low = INFINITY, high = 0;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // With some room, and never empty.
  Axis ToAxis(double from, double to, double room) const {
    if (high <= 0) return {1, 10, from, to};
    return {low / room, high * room, from, to};
  }
};

// Powers of ten and, the shorter the axis, 2 and 5 times or every whole number of times as much.
std::vector<double> DecimalTicks(const Axis& axis) {
  const double span = axis.high / axis.low;
  std::vector<double> ticks;
  for (double power = std::pow(10, std::floor(std::log10(axis.low))); power <= axis.high; power *= 10)
    for (int digit = 1; digit < 10; ++digit) {
      const bool shown = digit == 1 || span < 10 || (span < 2000 && (digit == 2 || digit == 5));
      if (shown && axis.Holds(digit * power)) ticks.push_back(digit * power);
    }
  return ticks;
}

std::string Text(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" text-anchor=\"" + anchor + "\"" + more + ">" +
         EscapeHtml(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2) {
  return "<line class=\"grid\" x1=\"" + Number(x1) + "\" y1=\"" + Number(y1) + "\" x2=\"" + Number(x2) +
         "\" y2=\"" + Number(y2) + "\"/>\n";
}

std::string Axes(const Plot& plot, const Axis& x, const Axis& y) {
  std::string out;
  auto ticks = plot.x_ticks;
  if (ticks.empty())
    for (const double tick : DecimalTicks(x)) ticks.emplace_back(tick, TickText(tick));
  double last = -INFINITY;
  for (const auto& [value, label] : ticks) {
    const double at = x.At(value);
    out += Line(at, kTop, at, kHeight - kBottom);
    if (at - last < kTickGap) continue;
    out += Text(at, kHeight - kBottom + 18, "middle", label);
    last = at;
  }
  for (const double tick : DecimalTicks(y)) {
    out += Line(kLeft, y.At(tick), kWidth - kRight, y.At(tick));
    out += Text(kLeft - 8, y.At(tick) + 4, "end", TickText(tick));
  }
  out += Text((kLeft + kWidth - kRight) / 2, kHeight - 10, "middle", plot.x_label);
  const std::string turn = " transform=\"rotate(-90 16 " + Number((kTop + kHeight - kBottom) / 2) + ")\"";
  return out + Text(16, (kTop + kHeight - kBottom) / 2, "middle", plot.y_label, turn.c_str());
}

std::string ClassOf(const PlotSeries& series, size_t colour) {
  return series.guide ? "guide" : "s" + std::to_string(colour % kColours);
}

std::string Draw(const PlotSeries& series, size_t colour, const Axis& x, const Axis& y) {
  std::string path, dots;
  for (const PlotPoint& p : series.points) {
    const std::string at_x = Number(x.At(p.x)), at_y = Number(y.At(p.y));
    path += (path.empty() ? "M" : "L") + at_x + " " + at_y;
    dots += "<circle cx=\"" + at_x + "\" cy=\"" + at_y + "\" r=\"4\"><title>" + EscapeHtml(p.title) +
            "</title></circle>\n";
  }
  std::string out = "<g class=\"" + ClassOf(series, colour) + "\">\n";
  if (series.line) out += "<path d=\"" + path + "\"/>\n";
  return out + (series.guide ? "" : dots) + "</g>\n";
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string RenderPlot(const Plot& plot) {
  Range x_range, y_range;
  for (const PlotSeries& s : plot.series)
    for (const PlotPoint& p : s.points) {
      x_range.Add(p.x);
      y_range.Add(p.y);
    }
  const Axis x = x_range.ToAxis(kLeft, kWidth - kRight, 1.15);
  const Axis y = y_range.ToAxis(kHeight - kBottom, kTop, 1.4);
  std::string drawing, legend;
  size_t colour = 0;
  for (const PlotSeries& s : plot.series) {
    drawing += Draw(s, colour, x, y);
    legend += "<li class=\"" + ClassOf(s, colour) + "\"><span></span>" + EscapeHtml(s.name) + "</li>";
    colour += s.guide ? 0 : 1;
  }
  return "<figure>\n<h2>" + EscapeHtml(plot.title) + "</h2>\n<svg viewBox=\"0 0 " + Number(kWidth) + " " +
         Number(kHeight) + "\" role=\"img\" aria-label=\"" + EscapeHtml(plot.title) + "\">\n" +
         Axes(plot, x, y) + drawing + "</svg>\n<ul>" + legend + "</ul>\n</figure>\n";
}

}  // namespace qwen3vl::bench
