// SPDX-License-Identifier: Apache-2.0
// The case table of attention: one list for every path, instruction set and storage format, and for the
// benchmarks. Sizes lie below, at and above tiles and register blocks; scores reach +-90, where exp overflows
// unless the maximum is subtracted first.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

#include "attention/attention.h"

namespace qwen3vl::test {

// Tolerances in tests/data/README.md: relative in the norm, of paths that compute in float32.
inline constexpr double kFloatTolerance = 2e-6;
// A log-sum-exp is off by about as much as scores are, which reach 90: 90 * 2^-22.
inline constexpr double kLseTolerance = 3e-5;

struct AttentionCase {
  const char* name;
  attention::Shape shape;
  bool causal = false;
  size_t window = 0;
  float softcap = 0;
  float amplitude = 2;  // of q and k; scores are about amplitude^2 * sqrt(head_dim) / 3
  size_t kv_begin = 0, kv_end = SIZE_MAX;
  std::vector<size_t> kv_lengths = {};
  std::vector<size_t> segments = {};
  size_t bias_heads = 0;  // 0: no bias
  bool allowed = false;   // a random mask of half the keys; every fifth row sees nothing
  float scale = 0;
};

inline void PrintTo(const AttentionCase& c, std::ostream* os) { *os << c.name; }

// The tensors of a case, dense [batch, len, heads, head_dim], exact in 16-bit formats.
struct AttentionTensors {
  explicit AttentionTensors(const AttentionCase& c);

  const AttentionCase& c;
  std::vector<float> q, k, v, bias;
  std::vector<uint8_t> allowed;

  attention::Inputs inputs() const;  // of the float tensors; points into this object
};

// Softmax attention in float64, written from the definition alone. out [batch, q_len, n_heads, head_dim],
// lse [batch, n_heads, q_len]. k and v may differ from the case's own (a cache that rounds).
struct AttentionReference {
  std::vector<double> out, lse;
};
AttentionReference Reference(const AttentionTensors& t, const std::vector<float>& k,
                             const std::vector<float>& v);

const std::vector<AttentionCase>& AttentionCases();
// Those of `cases` that a cache can hold: one sequence, of one key at least.
std::vector<AttentionCase> CacheCases(std::vector<AttentionCase> cases);

}  // namespace qwen3vl::test
