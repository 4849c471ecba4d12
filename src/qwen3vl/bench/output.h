// SPDX-License-Identifier: Apache-2.0
// Rows as people and programs read them. What is absent reads "unavailable" in CSV, "-" in tables and null in
// JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {

enum class OutputFormat { kTable, kMarkdown, kCsv, kJson, kJsonLines };

// "table", "markdown" ("md"), "csv", "json", "jsonl"; nothing for other names.
std::optional<OutputFormat> OutputFormatFromName(std::string_view name);

std::string Render(const std::vector<Row>& rows, OutputFormat format);

// The rows as people read them, under a header; what the rows share (machine, build, plans, peaks, state), a
// line for each different value.
std::vector<std::vector<std::string>> TableCells(const std::vector<Row>& rows);
std::string Notes(const std::vector<Row>& rows);

// "1.23 s", "4.56 ms", "7.89 us"
std::string FormatSeconds(double seconds);
// Three significant digits and more: "0.0123", "12.3", "1234"
std::string FormatValue(double value);
// Cells under a header; the first `n_left` columns to the left, the others to the right.
std::string AlignedTable(const std::vector<std::vector<std::string>>& cells, size_t n_left);

}  // namespace qwen3vl::bench
