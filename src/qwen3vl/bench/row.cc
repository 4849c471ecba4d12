// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/row.h"

namespace qwen3vl::bench {
namespace {

std::optional<double> Rate(std::optional<double> amount, double seconds) {
  if (!amount || seconds <= 0) return std::nullopt;
  return *amount / seconds / 1e9;
}

std::optional<double> Share(std::optional<double> rate, const std::optional<Peaks>& peaks,
                            double Peaks::*peak) {
  if (!rate || !peaks || (*peaks).*peak <= 0) return std::nullopt;
  return *rate / (*peaks).*peak;
}

}  // namespace

std::optional<double> Row::Gflops() const { return Rate(flop, stats.median); }
std::optional<double> Row::Gbs() const { return Rate(bytes, stats.median); }
std::optional<double> Row::TokensPerSecond() const {
  if (!tokens || stats.median <= 0) return std::nullopt;
  return static_cast<double>(*tokens) / stats.median;
}
std::optional<double> Row::FmaShare() const { return Share(Gflops(), peaks, &Peaks::fma_gflops); }
std::optional<double> Row::ReadShare() const { return Share(Gbs(), peaks, &Peaks::read_gbs); }
std::optional<double> Row::BestFmaShare() const {
  return Share(Rate(flop, stats.min), peaks, &Peaks::fma_gflops_best);
}
std::optional<double> Row::BestReadShare() const {
  return Share(Rate(bytes, stats.min), peaks, &Peaks::read_gbs_best);
}

std::string ShapeText(const Row& row) {
  std::string out;
  for (const auto& [name, value] : row.shape)
    out += (out.empty() ? "" : ", ") + name + " " + std::to_string(value);
  return out;
}

}  // namespace qwen3vl::bench
