// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/text_format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

#include "qwen3vl/kv_type.h"

namespace qwen3vl::cli {

std::string FormatNumber(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string NumberText(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string FormatBytes(size_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return FormatNumber(value, unit ? 1 : 0) + " " + kUnits[unit];
}

std::string FormatShape(const std::vector<size_t>& shape) {
  std::string out = "[";
  for (size_t n : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(n);
  return out + "]";
}

std::string Plural(size_t n, std::string_view noun) {
  return std::to_string(n) + " " + std::string(noun) + (n == 1 ? "" : "s");
}

std::string OneLine(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

std::string_view Name(KvType type) {
  constexpr std::array<std::string_view, 4> kNames{"f32", "f16", "bf16", "q8_0"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view Name(AttentionChoice choice) {
  constexpr std::array<std::string_view, 4> kNames{"auto", "cuda", "tiled", "standard"};
  return kNames[static_cast<size_t>(choice)];
}

std::string_view Name(GpuVision choice) {
  return choice == GpuVision::kOn ? "on" : choice == GpuVision::kOff ? "off" : "auto";
}
std::string_view Name(RepackChoice choice) {
  return choice == RepackChoice::kOn ? "on" : choice == RepackChoice::kOff ? "off" : "auto";
}
std::string_view Name(CpuProducts products) { return attention::Name(ToProducts(products)); }
std::string_view Name(GpuScores scores) { return scores == GpuScores::kInt8 ? "int8" : "f32"; }

Table::Table(std::vector<std::string> header, size_t first_right) : first_right_(first_right) {
  rows_.push_back(std::move(header));
}

void Table::Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

std::string Table::Text() const {
  std::vector<size_t> width(rows_.front().size());
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (i >= first_right_ ? pad + row[i] : row[i] + pad);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

}  // namespace qwen3vl::cli
