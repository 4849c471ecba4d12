// SPDX-License-Identifier: Apache-2.0
// Numbers, names and tables as people read them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

std::string FormatBytes(size_t bytes);                      // "512 B", "3.2 MiB"
std::string FormatNumber(double value, int digits);         // fixed point
std::string NumberText(double value);                       // the shortest that reads back as `value`
std::string FormatShape(const std::vector<size_t>& shape);  // "[4, 128]"
std::string Plural(size_t n, std::string_view noun);        // "1 token", "2 tokens"
// One line, whatever the text holds: line ends and other control characters become spaces.
std::string OneLine(std::string_view text);

std::string_view Name(KvType type);             // "f16"
std::string_view Name(AttentionChoice choice);  // "auto"
std::string_view Name(CpuProducts products);    // "f32"
std::string_view Name(GpuScores scores);        // "f32"
std::string_view Name(GpuVision choice);        // "auto"
std::string_view Name(RepackChoice choice);     // "auto"

// Rows under a header, columns as wide as their widest cell, numbers (all columns from `first_right` on) to
// the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header, size_t first_right = 1);
  void Add(std::vector<std::string> row);
  std::string Text() const;

 private:
  size_t first_right_;
  std::vector<std::vector<std::string>> rows_;  // the header first
};

}  // namespace qwen3vl::cli
