// SPDX-License-Identifier: Apache-2.0
// The mixture of experts: every token goes to its best few feed-forward networks. Tokens are gathered by
// expert, so that each expert's matrices are read once a chunk.
#include <algorithm>
#include <cmath>
#include <numeric>
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

// Softmax over all experts, the best `n_used` of each row, their weights renormalised to 1: one list of
// tokens an expert. Ties go to the lower index.
std::vector<std::vector<Assignment>> RouteTokens(ConstView logits, size_t n_used) {
  std::vector<std::vector<Assignment>> by_expert(logits.cols);
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
    for (size_t i = 0; i < n_used; ++i) by_expert[order[i]].push_back({token, weight[i] / sum});
  }
  return by_expert;
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
  const std::vector<std::vector<Assignment>> by_expert = RouteTokens(logits, c.n_experts_used);

  runtime.Timed("experts", step.name, [&] {
    for (size_t e = 0; e < by_expert.size(); ++e) {
      const std::vector<Assignment>& tokens = by_expert[e];
      if (tokens.empty()) continue;
      runtime.CheckCancelled();
      const View in(scratch.rows.data(), tokens.size(), c.dim),
          out(scratch.mixed.data(), tokens.size(), c.dim);
      const View gate(scratch.gate.data(), tokens.size(), c.expert_ffn_dim),
          up(scratch.up.data(), tokens.size(), c.expert_ffn_dim);
      for (size_t i = 0; i < tokens.size(); ++i) std::copy_n(x.row(tokens[i].token), c.dim, in.row(i));
      const LinearPart projections[] = {{&w.expert_gate[e], gate, plain}, {&w.expert_up[e], up, plain}};
      LinearGroup(projections, in, threads);
      SwiGlu(gate, up, threads);
      Linear(w.expert_down[e], gate, out, plain, threads);
      for (size_t i = 0; i < tokens.size(); ++i)
        AddScaled(out.Rows(i, 1), tokens[i].weight, y.Rows(tokens[i].token, 1), hw::Threads{1});
    }
  });
}

}  // namespace qwen3vl
