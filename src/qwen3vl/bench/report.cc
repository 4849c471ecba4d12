// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/report.h"

#include "qwen3vl/bench/output.h"

namespace qwen3vl::bench {
namespace {

// Colours that people with any colour vision can tell apart (Okabe and Ito 2008), on a light or dark page.
constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>qwen3vl benchmark</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0 0 .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: 1rem; min-width: 0; }
svg { width: 100%; height: auto; font: 14px system-ui, sans-serif; }
svg text { fill: currentColor; } .grid { stroke: var(--line); }
path { fill: none; stroke: currentColor; stroke-width: 2; } circle { fill: currentColor; }
svg .guide path { stroke-dasharray: 6 4; stroke-width: 1.5; }
figure ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .4rem 0 0; font-size: 13px; }
figure li span { display: inline-block; width: 1.2em; margin-right: .4em; vertical-align: middle; border-top: 3px solid currentColor; }
li { color: inherit; }
.s0 path, .s0 circle, li.s0 span { color: #0072b2; } .s1 path, .s1 circle, li.s1 span { color: #d55e00; }
.s2 path, .s2 circle, li.s2 span { color: #009e73; } .s3 path, .s3 circle, li.s3 span { color: #cc79a7; }
.s4 path, .s4 circle, li.s4 span { color: #e69f00; } .s5 path, .s5 circle, li.s5 span { color: #56b4e9; }
.s6 path, .s6 circle, li.s6 span { color: #b5a800; } .s7 path, .s7 circle, li.s7 span { color: #8c6bb1; }
.guide path, li.guide span { color: #888; } li.guide span { border-top-style: dashed; }
.rows { overflow-x: auto; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:nth-child(-n+4), td:nth-child(-n+4) { text-align: left; }
pre { white-space: pre-wrap; font-size: 13px; }
</style>
</head>
<body>
<h1>qwen3vl benchmark</h1>
)";

std::string HtmlTable(const std::vector<std::vector<std::string>>& cells) {
  std::string out = "<div class=\"rows\"><table>\n";
  for (size_t row = 0; row < cells.size(); ++row) {
    const char* tag = row == 0 ? "th" : "td";
    out += "<tr>";
    for (const std::string& cell : cells[row])
      out += std::string("<") + tag + ">" + EscapeHtml(cell) + "</" + tag + ">";
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string RenderReport(const std::vector<Row>& rows) {
  std::string out = kHead;
  out += "<pre>" + EscapeHtml(Notes(rows)) + "</pre>\n<main>\n";
  for (const auto& plots : {SpeedPlots(rows), MemoryPlots(rows), RooflinePlots(rows)})
    for (const Plot& plot : plots) out += RenderPlot(plot);
  out += "</main>\n" + HtmlTable(TableCells(rows));
  out += "<h2>Commands that repeat the rows</h2>\n<pre>";
  for (const Row& r : rows) out += EscapeHtml(r.command) + "\n";
  return out + "</pre>\n</body>\n</html>\n";
}

}  // namespace qwen3vl::bench
