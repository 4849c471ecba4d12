// SPDX-License-Identifier: Apache-2.0
// Rows as one self-contained HTML page: the machine, plots, and every row as a table.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/bench/plot.h"
#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

std::string RenderReport(const std::vector<Row>& rows);

// The plots of a page; those that have no points are left out.
// Speed against length, one for each kind of layer: GB/s for steps of generation, which memory limits, tokens
// a second for whole models and pictures, else GFLOP/s; with the peaks of the machine as guides.
std::vector<Plot> SpeedPlots(const std::vector<Row>& rows);
// Inputs, output and scratch of attention over prompts, and the scratch alone, with guides that grow as the
// length and as its square.
std::vector<Plot> MemoryPlots(const std::vector<Row>& rows);
// GFLOP/s against FLOP a byte, under the peaks measured in the same rows.
std::vector<Plot> RooflinePlots(const std::vector<Row>& rows);

}  // namespace qwen3vl::bench
