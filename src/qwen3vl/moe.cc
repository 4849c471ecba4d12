// SPDX-License-Identifier: Apache-2.0
// The mixture of experts: every token goes to its best few feed-forward networks. Tokens are gathered by
// expert, so that each expert's matrices are read once a chunk, and as many experts as there is room for are
// computed together: a product of one expert alone would be too small for many threads.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "qwen3vl/decoder_layer.h"
#include "qwen3vl/layers.h"

namespace qwen3vl {
namespace {

using View = hw::MatrixView<float>;
using ConstView = hw::MatrixView<const float>;

struct Assignment {
  size_t token = 0;
  float weight = 0;
};

// An expert with its tokens, and the first of their rows in the scratch memory.
struct Routed {
  size_t expert = 0;
  std::vector<Assignment> tokens;
  size_t first_row = 0;
};

// Softmax over all experts, the best `n_used` of each row, their weights renormalised to 1: the experts that
// have tokens. Ties go to the lower index.
std::vector<Routed> RouteTokens(ConstView logits, size_t n_used) {
  std::vector<Routed> experts(logits.cols);
  for (size_t e = 0; e < experts.size(); ++e) experts[e].expert = e;
  std::vector<size_t> order(logits.cols);
  for (size_t token = 0; token < logits.rows; ++token) {
    const float* row = logits.row(token);
    std::iota(order.begin(), order.end(), size_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n_used), order.end(),
                      [row](size_t a, size_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    // The softmax denominator cancels when the chosen weights are divided by their sum.
    float sum = 0;
    std::vector<float> weight(n_used);
    for (size_t i = 0; i < n_used; ++i) sum += weight[i] = std::exp(row[order[i]] - row[order[0]]);
    for (size_t i = 0; i < n_used; ++i) experts[order[i]].tokens.push_back({token, weight[i] / sum});
  }
  std::erase_if(experts, [](const Routed& r) { return r.tokens.empty(); });
  return experts;
}

// y += weight * expert(x) for all these experts, in their order.
void Experts(const DecoderStep& step, std::span<const Routed> experts, size_t n_rows, ConstView x, View y,
             DecoderScratch& scratch, hw::Threads threads, Precision precision) {
  const TextConfig& c = *step.config;
  const TextLayerWeights& w = *step.weights;
  const LinearOptions plain{.precision = precision};
  const View in(scratch.rows.data(), n_rows, c.dim), out(scratch.mixed.data(), n_rows, c.dim);
  const View gate(scratch.gate.data(), n_rows, c.expert_ffn_dim),
      up(scratch.up.data(), n_rows, c.expert_ffn_dim);
  // An expert's only token is read where it is.
  if (n_rows > experts.size())
    hw::ParallelFor(threads, experts.size(), [&](size_t i, size_t) {
      const Routed& r = experts[i];
      for (size_t t = 0; r.tokens.size() > 1 && t < r.tokens.size(); ++t)
        std::copy_n(x.row(r.tokens[t].token), c.dim, in.row(r.first_row + t));
    });
  std::vector<LinearPart> parts;
  for (const Routed& r : experts) {
    const size_t n = r.tokens.size();
    const ConstView from = n == 1 ? x.Rows(r.tokens[0].token, 1) : ConstView(in.Rows(r.first_row, n));
    parts.push_back({&w.expert_gate[r.expert], from, gate.Rows(r.first_row, n), plain});
    parts.push_back({&w.expert_up[r.expert], from, up.Rows(r.first_row, n), plain});
  }
  LinearGroup(parts, threads);
  SwiGlu(gate, up, threads);
  parts.clear();
  for (const Routed& r : experts) {
    const size_t n = r.tokens.size();
    parts.push_back({&w.expert_down[r.expert], gate.Rows(r.first_row, n), out.Rows(r.first_row, n), plain});
  }
  LinearGroup(parts, threads);
  // Threads share the columns: several experts add to the same token.
  constexpr size_t kCols = 256;
  const hw::Threads few{n_rows > 16 ? threads.count : 1};
  hw::ParallelFor(few, (c.dim + kCols - 1) / kCols, [&](size_t i, size_t) {
    const size_t cols = std::min(kCols, c.dim - i * kCols);
    for (const Routed& r : experts)
      for (size_t t = 0; t < r.tokens.size(); ++t)
        AddScaled(out.Rows(r.first_row + t, 1).Cols(i * kCols, cols), r.tokens[t].weight,
                  y.Rows(r.tokens[t].token, 1).Cols(i * kCols, cols), hw::Threads{1});
  });
}

}  // namespace

void MixtureOfExperts(const DecoderStep& step, ConstView x, View y, DecoderScratch& scratch,
                      Runtime& runtime) {
  const TextConfig& c = *step.config;
  const TextLayerWeights& w = *step.weights;
  const hw::Threads threads = runtime.threads;
  const LinearOptions plain{.precision = runtime.precision};

  const View logits(scratch.router.data(), x.rows, c.n_experts);
  runtime.Timed("router", step.name, [&] { Linear(w.router, x, logits, plain, threads); });
  runtime.Trace(step.name + ".router_logits", {x.rows, c.n_experts}, logits.data);
  std::vector<Routed> experts = RouteTokens(logits, c.n_experts_used);
  const size_t room = DecoderScratch::ExpertRows(c, x.rows);
  runtime.Timed("experts", step.name, [&] {
    for (size_t first = 0, end; first < experts.size(); first = end) {
      runtime.CheckCancelled();
      size_t n_rows = 0;
      for (end = first; end < experts.size() && n_rows + experts[end].tokens.size() <= room; ++end) {
        experts[end].first_row = n_rows;
        n_rows += experts[end].tokens.size();
      }
      Experts(step, std::span(experts).subspan(first, end - first), n_rows, x, y, scratch, threads,
              runtime.precision);
    }
  });
}

}  // namespace qwen3vl
