// SPDX-License-Identifier: Apache-2.0
#include "support/attention_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/seeded.h"

namespace qwen3vl::test {
namespace {

std::vector<AttentionCase> MakeCases() {
  std::vector<AttentionCase> cases = {
      {"DecodeOneRow", {1, 1, 65, 32, 8, 128}, true},
      {"DecodeOneKey", {1, 1, 1, 8, 8, 64}, true},
      {"DecodeLong", {1, 1, 700, 8, 2, 64}, true},
      {"DecodeOneHead", {1, 1, 300, 1, 1, 128}, true},
      {"CausalBelowTile", {1, 15, 15, 4, 2, 64}, true},
      {"CausalAtTile", {1, 64, 64, 8, 2, 32}, true},
      {"CausalAboveTile", {1, 65, 65, 8, 2, 32}, true},
      {"CausalGroup8", {1, 33, 33, 8, 1, 64}, true},
      {"CausalMainShape", {1, 40, 40, 32, 8, 128}, true},
      {"CachedPrefix", {1, 7, 130, 8, 4, 64}, true},
      {"MoreQueriesThanKeys", {1, 20, 6, 4, 2, 32}, true},
      {"VisionHead64", {1, 70, 70, 2, 2, 64}},
      {"VisionHead72", {1, 70, 70, 2, 2, 72}},
      {"VisionHead80", {1, 33, 49, 2, 2, 80}},
      {"Head1", {1, 9, 17, 2, 1, 1}},
      {"Head7", {1, 9, 17, 2, 1, 7}},
      {"Head16", {1, 20, 31, 4, 4, 16}},
      {"Head96", {1, 20, 31, 4, 2, 96}},
      {"Head200", {1, 9, 31, 2, 1, 200}},
      {"Head256", {1, 13, 50, 4, 1, 256}},
      {"Batch3", {3, 9, 20, 4, 2, 32}},
      {"NoKeys", {1, 3, 0, 2, 1, 32}},
  };
  cases.push_back({.name = "Window", .shape = {1, 50, 90, 4, 2, 32}, .causal = true, .window = 20});
  // Threads that share the keys, of which the first ones see none.
  cases.push_back(
      {.name = "DecodeEmptySplits", .shape = {1, 1, 700, 2, 1, 64}, .causal = true, .window = 20});
  cases.push_back({.name = "WindowOfOne", .shape = {1, 20, 20, 4, 2, 32}, .causal = true, .window = 1});
  cases.push_back({.name = "Softcap", .shape = {1, 30, 30, 4, 2, 64}, .causal = true, .softcap = 5});
  cases.push_back({.name = "KvRange", .shape = {1, 10, 80, 4, 2, 64}, .kv_begin = 17, .kv_end = 66});
  cases.push_back({.name = "KvRangeEmpty", .shape = {1, 3, 40, 4, 2, 64}, .kv_begin = 5, .kv_end = 5});
  cases.push_back({.name = "Lengths", .shape = {3, 9, 40, 4, 2, 32}, .kv_lengths = {40, 1, 0}});
  cases.push_back({.name = "Segments", .shape = {1, 90, 90, 2, 2, 72}, .segments = {0, 1, 17, 64, 90}});
  cases.push_back({.name = "BiasShared", .shape = {1, 20, 45, 4, 2, 32}, .bias_heads = 1});
  cases.push_back(
      {.name = "BiasPerHeadCausal", .shape = {1, 20, 45, 4, 2, 32}, .causal = true, .bias_heads = 4});
  cases.push_back({.name = "AllowedWithEmptyRows", .shape = {1, 21, 70, 4, 2, 64}, .allowed = true});
  cases.push_back({.name = "EverythingAtOnce",
                   .shape = {1, 21, 70, 4, 2, 64},
                   .causal = true,
                   .window = 40,
                   .softcap = 8,
                   .kv_begin = 3,
                   .kv_end = 66,
                   .bias_heads = 4,
                   .allowed = true});
  cases.push_back(
      {.name = "ScoresNear90", .shape = {1, 20, 40, 4, 2, 64}, .causal = true, .amplitude = 5.8f});
  cases.push_back({.name = "ScoresAllAlike", .shape = {1, 5, 300, 2, 1, 32}, .amplitude = 0});
  cases.push_back({.name = "OwnScale", .shape = {1, 17, 33, 2, 1, 32}, .scale = 0.5f});
  cases.push_back({.name = "NegativeScale", .shape = {1, 17, 33, 2, 1, 32}, .causal = true, .scale = -0.5f});
  cases.push_back({.name = "DecodeNegativeScale", .shape = {1, 1, 70, 4, 2, 64}, .scale = -0.25f});
  return cases;
}

bool Sees(const AttentionTensors& t, size_t batch, size_t i, size_t j) {
  const AttentionCase& c = t.c;
  const std::ptrdiff_t self =
      static_cast<std::ptrdiff_t>(c.shape.kv_len + i) - static_cast<std::ptrdiff_t>(c.shape.q_len);
  const auto key = static_cast<std::ptrdiff_t>(j);
  if (c.causal && key > self) return false;
  if (c.window > 0 && (key > self || key <= self - static_cast<std::ptrdiff_t>(c.window))) return false;
  if (j < c.kv_begin || j >= c.kv_end) return false;
  if (!c.kv_lengths.empty() && j >= c.kv_lengths[batch]) return false;
  if (!c.segments.empty()) {
    const auto segment = [&](size_t x) { return std::ranges::upper_bound(c.segments, x); };
    if (segment(i) != segment(j)) return false;
  }
  return t.allowed.empty() || t.allowed[i * c.shape.kv_len + j];
}

}  // namespace

const std::vector<AttentionCase>& AttentionCases() {
  static const std::vector<AttentionCase> cases = MakeCases();
  return cases;
}

std::vector<AttentionCase> CacheCases(std::vector<AttentionCase> cases) {
  std::erase_if(cases, [](const AttentionCase& c) { return c.shape.batch != 1 || c.shape.kv_len == 0; });
  return cases;
}

AttentionTensors::AttentionTensors(const AttentionCase& which) : c(which) {
  const attention::Shape& s = c.shape;
  q = Seeded(1, s.batch * s.q_len * s.n_heads * s.head_dim, c.amplitude);
  k = Seeded(2, s.batch * s.kv_len * s.n_kv_heads * s.head_dim, c.amplitude);
  v = Seeded(3, s.batch * s.kv_len * s.n_kv_heads * s.head_dim);
  if (c.bias_heads) bias = Seeded(4, c.bias_heads * s.q_len * s.kv_len, 4);
  if (!c.allowed) return;
  allowed.resize(s.q_len * s.kv_len);
  for (size_t i = 0; i < allowed.size(); ++i) allowed[i] = i / s.kv_len % 5 != 4 && SeededBits(5, i) >> 63;
}

attention::Inputs AttentionTensors::inputs() const {
  const attention::Shape& s = c.shape;
  const auto dense = [&](const std::vector<float>& x, size_t len, size_t heads) {
    return attention::TensorRef{.data = x.data(),
                                .batch_stride = len * heads * s.head_dim,
                                .row_stride = heads * s.head_dim,
                                .head_stride = s.head_dim};
  };
  attention::Inputs in;
  in.shape = s;
  in.scale = c.scale;
  in.softcap = c.softcap;
  in.q = dense(q, s.q_len, s.n_heads);
  in.k = dense(k, s.kv_len, s.n_kv_heads);
  in.v = dense(v, s.kv_len, s.n_kv_heads);
  in.mask.causal = c.causal;
  in.mask.window = c.window;
  in.mask.kv_begin = c.kv_begin;
  in.mask.kv_end = c.kv_end;
  in.mask.kv_lengths = c.kv_lengths;
  in.mask.segments = c.segments;
  if (c.bias_heads) {
    in.mask.bias = bias.data();
    in.mask.bias_heads = c.bias_heads;
  }
  if (c.allowed) in.mask.allowed = allowed.data();
  return in;
}

AttentionReference Reference(const AttentionTensors& t, const std::vector<float>& k,
                             const std::vector<float>& v) {
  const attention::Shape& s = t.c.shape;
  const double scale = t.c.scale != 0 ? t.c.scale : 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  AttentionReference ref;
  ref.out.assign(t.q.size(), 0.0);
  ref.lse.assign(s.batch * s.n_heads * s.q_len, -std::numeric_limits<double>::infinity());
  std::vector<double> score(s.kv_len);
  for (size_t b = 0; b < s.batch; ++b) {
    for (size_t h = 0; h < s.n_heads; ++h) {
      const size_t kv_head = h / (s.n_heads / s.n_kv_heads);
      const auto row = [&](const std::vector<float>& x, size_t j) {
        return &x[((b * s.kv_len + j) * s.n_kv_heads + kv_head) * s.head_dim];
      };
      for (size_t i = 0; i < s.q_len; ++i) {
        const float* q = &t.q[((b * s.q_len + i) * s.n_heads + h) * s.head_dim];
        double largest = -std::numeric_limits<double>::infinity();
        for (size_t j = 0; j < s.kv_len; ++j) {
          double dot = 0;
          for (size_t d = 0; d < s.head_dim; ++d) dot += static_cast<double>(q[d]) * row(k, j)[d];
          score[j] = dot * scale;
          if (t.c.softcap > 0) score[j] = t.c.softcap * std::tanh(score[j] / t.c.softcap);
          if (t.c.bias_heads)
            score[j] += t.bias[((t.c.bias_heads == 1 ? 0 : h) * s.q_len + i) * s.kv_len + j];
          if (!Sees(t, b, i, j)) score[j] = -std::numeric_limits<double>::infinity();
          largest = std::max(largest, score[j]);
        }
        if (std::isinf(largest)) continue;
        double sum = 0;
        for (size_t j = 0; j < s.kv_len; ++j) sum += score[j] = std::exp(score[j] - largest);
        double* out = &ref.out[((b * s.q_len + i) * s.n_heads + h) * s.head_dim];
        for (size_t j = 0; j < s.kv_len; ++j)
          for (size_t d = 0; d < s.head_dim; ++d) out[d] += score[j] / sum * row(v, j)[d];
        ref.lse[(b * s.n_heads + h) * s.q_len + i] = largest + std::log(sum);
      }
    }
  }
  return ref;
}

}  // namespace qwen3vl::test
