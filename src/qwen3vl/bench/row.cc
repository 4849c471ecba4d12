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

std::optional<double> ShareOfRounds(const Row& row, std::optional<double> amount, double RoundPeaks::*peak) {
  if (row.round_peaks.size() != row.samples.size()) return std::nullopt;
  std::vector<double> shares;
  for (size_t i = 0; i < row.samples.size(); ++i) {
    const auto rate = Rate(amount, row.samples[i]);
    const double most = row.round_peaks[i].*peak;
    if (!rate || most <= 0) return std::nullopt;
    shares.push_back(*rate / most);
  }
  if (shares.empty()) return std::nullopt;
  return Quantile(shares, 0.5);
}

}  // namespace

std::optional<double> Row::Gflops() const { return Rate(flop, stats.median); }
std::optional<double> Row::Gbs() const { return Rate(bytes, stats.median); }
std::optional<double> Row::TokensPerSecond() const {
  if (!tokens || stats.median <= 0) return std::nullopt;
  return static_cast<double>(*tokens) / stats.median;
}
std::optional<double> Row::FmaShare() const {
  if (const auto share = ShareOfRounds(*this, flop, &RoundPeaks::fma_gflops)) return share;
  return Share(Gflops(), peaks, &Peaks::fma_gflops);
}
std::optional<double> Row::ReadShare() const {
  if (const auto share = ShareOfRounds(*this, bytes, &RoundPeaks::read_gbs)) return share;
  return Share(Gbs(), peaks, &Peaks::read_gbs);
}
std::optional<double> Row::BestFmaShare() const {
  return Share(Rate(flop, stats.min), peaks, &Peaks::fma_gflops_best);
}
std::optional<double> Row::BestReadShare() const {
  return Share(Rate(bytes, stats.min), peaks, &Peaks::read_gbs_best);
}

std::vector<double> HandoversNs(const std::vector<Row>& rows) {
  std::vector<double> all;
  for (const Row& row : rows)
    for (const RoundPeaks& round : row.round_peaks)
      if (round.handover_ns) all.push_back(*round.handover_ns);
  return all;
}

std::string ShapeText(const Row& row) {
  std::string out;
  for (const auto& [name, value] : row.shape)
    out += (out.empty() ? "" : ", ") + name + " " + std::to_string(value);
  return out;
}

}  // namespace qwen3vl::bench
