// SPDX-License-Identifier: Apache-2.0
// A plot with two logarithmic axes as inline SVG: no script, no outer file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwen3vl::bench {

struct PlotPoint {
  double x = 1, y = 1;  // positive
  std::string title;    // shown when the pointer rests on it
};

struct PlotSeries {
  std::string name;
  std::vector<PlotPoint> points;  // in the order in which a line joins them
  bool line = true;
  bool guide = false;  // dashed, without markers and in grey: a limit or a slope to compare with
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<PlotSeries> series;
  std::vector<std::pair<double, std::string>> x_ticks;  // empty: powers of ten
};

// <figure> with the drawing and its legend. Classes s0 to s7 colour the series; the page defines them.
std::string RenderPlot(const Plot& plot);

// Text for an element or a quoted attribute.
std::string EscapeHtml(std::string_view text);

}  // namespace qwen3vl::bench
