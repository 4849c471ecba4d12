// SPDX-License-Identifier: Apache-2.0
// Rotary embedding and norms: the parts of a layer that pass over the rows once.
#include <algorithm>
#include <cmath>
#include <vector>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/linear_case.h"
#include "qwen3vl/bench/random.h"
#include "qwen3vl/deviation.h"
#include "qwen3vl/layers.h"
#include "rope/rope.h"

namespace qwen3vl::bench {
namespace {

constexpr float kEps = 1e-6f;
constexpr double kTextTheta = 5e6;

struct RopeData {
  rope::RopeTable table;
  size_t n_heads, head_dim;
  hw::AlignedBuffer<float> x;

  void Run(size_t threads) {
    rope::Rotate(table, {x.data(), table.size(), n_heads * head_dim}, n_heads, hw::Threads{threads});
  }
};

rope::RopeTable MakeTable(const Preset& preset, size_t n_tokens) {
  std::vector<rope::Position> positions(n_tokens);
  for (size_t i = 0; i < n_tokens; ++i) {
    const int32_t at = static_cast<int32_t>(i);
    positions[i] =
        preset.rope == RopeKind::kVision ? rope::Position{0, at / 32, at % 32} : rope::Position{at, at, at};
  }
  const size_t head_dim = preset.attention.head_dim;
  if (preset.rope == RopeKind::kVision) return rope::RopeTable::Vision(positions, head_dim);
  const std::array<size_t, 3> section =
      head_dim == 128 ? std::array<size_t, 3>{24, 20, 20} : std::array<size_t, 3>{head_dim / 2, 0, 0};
  return rope::RopeTable::Text(positions, head_dim, kTextTheta, section);
}

// Distance of `found` from `wanted(index)`.
template <class Wanted>
Accuracy Compare(std::span<const float> found, const Wanted& wanted, const char* reference) {
  Deviation deviation;
  for (size_t i = 0; i < found.size(); ++i) deviation.Add(found[i], wanted(i));
  return {deviation.max_abs, deviation.rel_norm(), found.size(), reference};
}

Accuracy CheckRope(RopeData& data, size_t threads) {
  const std::vector<float> before(data.x.data(), data.x.data() + data.x.size());
  data.Run(threads);
  const size_t half = data.head_dim / 2, cols = data.n_heads * data.head_dim;
  return Compare(
      data.x.span(),
      [&](size_t i) {
        const size_t token = i / cols, d = i % data.head_dim, pair = d % half, first = i - d + pair;
        const double c = data.table.cos(token)[pair], s = data.table.sin(token)[pair];
        const double a = before[first], b = before[first + half];
        return d < half ? a * c - b * s : b * c + a * s;
      },
      "rotation in float64 by the same table");
}

struct NormData {
  NormKind kind;
  size_t rows, cols;
  hw::AlignedBuffer<float> x, y, w, b;

  void Run(size_t threads) {
    const hw::MatrixView<const float> in{x.data(), rows, cols};
    const hw::MatrixView<float> out{y.data(), rows, cols};
    if (kind == NormKind::kRms)
      RmsNorm(in, w.data(), kEps, out, hw::Threads{threads});
    else
      LayerNorm(in, w.data(), b.data(), kEps, out, hw::Threads{threads});
  }
};

Accuracy CheckNorm(NormData& data, size_t threads) {
  data.Run(threads);
  std::vector<double> mean(data.rows, 0.0), factor(data.rows);
  for (size_t r = 0; r < data.rows; ++r) {
    const float* x = data.x.data() + r * data.cols;
    const double n = static_cast<double>(data.cols);
    double squares = 0;
    for (size_t c = 0; data.kind == NormKind::kLayer && c < data.cols; ++c) mean[r] += x[c] / n;
    for (size_t c = 0; c < data.cols; ++c) squares += (x[c] - mean[r]) * (x[c] - mean[r]);
    factor[r] = 1 / std::sqrt(squares / n + static_cast<double>(kEps));
  }
  return Compare(
      data.y.span(),
      [&](size_t i) {
        const size_t r = i / data.cols, c = i % data.cols;
        const double bias = data.kind == NormKind::kLayer ? data.b[c] : 0.0;
        return data.w[c] * (data.x[i] - mean[r]) * factor[r] + bias;
      },
      "the norm in float64");
}

}  // namespace

Variant MakeRopeVariant(const Preset& preset, size_t n_tokens, size_t threads, Row row) {
  const AttentionShape& s = preset.attention;
  const size_t n = n_tokens * s.n_heads * s.head_dim;
  const auto data = std::make_shared<RopeData>(
      RopeData{MakeTable(preset, n_tokens), s.n_heads, s.head_dim, hw::AlignedBuffer<float>(n)});
  FillRandom(data->x.span(), 21);
  row.shape = {{"tokens", n_tokens}, {"heads", s.n_heads}, {"head_dim", s.head_dim}};
  row.length = n_tokens;
  row.dtype = "f32";
  row.path = preset.rope == RopeKind::kVision ? "vision" : "text";
  row.threads = threads;
  row.isa = hw::Name(hw::SelectedIsa());
  row.flop = 3.0 * static_cast<double>(n);
  row.bytes = sizeof(float) * (2.0 * static_cast<double>(n) + static_cast<double>(n_tokens * s.head_dim));
  row.formula = "flop: 6 a pair of values; bytes: values read and written, table read";
  row.tokens = n_tokens;
  return {.row = std::move(row),
          .run = [data, threads] { data->Run(threads); },
          .check = [data, threads] { return CheckRope(*data, threads); }};
}

Variant MakeNormVariant(const Preset& preset, size_t n_tokens, size_t threads, Row row) {
  const auto data = std::make_shared<NormData>();
  const size_t n = n_tokens * preset.dim;
  data->kind = preset.norm;
  data->rows = n_tokens;
  data->cols = preset.dim;
  data->x = hw::AlignedBuffer<float>(n);
  data->y = hw::AlignedBuffer<float>(n);
  data->w = hw::AlignedBuffer<float>(preset.dim);
  data->b = hw::AlignedBuffer<float>(preset.dim);
  FillRandom(data->x.span(), 31);
  FillRandom(data->w.span(), 32);
  FillRandom(data->b.span(), 33);
  const bool rms = preset.norm == NormKind::kRms;
  row.shape = {{"tokens", n_tokens}, {"dim", preset.dim}};
  row.length = n_tokens;
  row.dtype = "f32";
  row.path = rms ? "rms" : "layer_norm";
  row.threads = threads;
  row.isa = hw::Name(hw::SelectedIsa());
  row.flop = (rms ? 4.0 : 7.0) * static_cast<double>(n);
  row.bytes = 2.0 * sizeof(float) * static_cast<double>(n);
  row.formula = "flop: 4 a value (RMS), 7 (LayerNorm); bytes: values read and written";
  row.tokens = n_tokens;
  return {.row = std::move(row),
          .run = [data, threads] { data->Run(threads); },
          .check = [data, threads] { return CheckNorm(*data, threads); }};
}

}  // namespace qwen3vl::bench
