// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/layers.h"

#include <algorithm>
#include <cassert>

#include "qwen3vl/layers_simd.h"

namespace qwen3vl {
namespace {

// A task has at least so many values, or handing it out would cost more than the work.
constexpr size_t kValuesPerTask = 16384;

// Calls fn(row) for all rows, several rows a task.
template <class Fn>
void ForRows(size_t rows, size_t cols, hw::Threads threads, const Fn& fn) {
  const size_t per_task = std::max<size_t>(1, kValuesPerTask / std::max<size_t>(1, cols));
  hw::ParallelFor(threads, (rows + per_task - 1) / per_task, [&](size_t task, size_t) {
    const size_t end = std::min(rows, (task + 1) * per_task);
    for (size_t r = task * per_task; r < end; ++r) fn(r);
  });
}

}  // namespace

void RmsNorm(hw::MatrixView<const float> x, const float* w, float eps, hw::MatrixView<float> y,
             hw::Threads threads) {
  assert(x.rows == y.rows && x.cols == y.cols);
  ForRows(x.rows, x.cols, threads, [&](size_t r) { RmsNormRow(x.row(r), w, x.cols, eps, y.row(r)); });
}

void RmsNormHeads(hw::MatrixView<float> x, size_t n_heads, size_t head_dim, const float* w, float eps,
                  hw::Threads threads) {
  assert(x.cols >= n_heads * head_dim);
  ForRows(x.rows, n_heads * head_dim, threads, [&](size_t r) {
    for (size_t h = 0; h < n_heads; ++h) {
      float* head = x.row(r) + h * head_dim;
      RmsNormRow(head, w, head_dim, eps, head);
    }
  });
}

void LayerNorm(hw::MatrixView<const float> x, const float* w, const float* b, float eps,
               hw::MatrixView<float> y, hw::Threads threads) {
  assert(x.rows == y.rows && x.cols == y.cols);
  ForRows(x.rows, x.cols, threads, [&](size_t r) { LayerNormRow(x.row(r), w, b, x.cols, eps, y.row(r)); });
}

void SwiGlu(hw::MatrixView<float> gate, hw::MatrixView<const float> up, hw::Threads threads) {
  assert(gate.rows == up.rows && gate.cols == up.cols);
  ForRows(gate.rows, gate.cols, threads, [&](size_t r) { SwiGluRun(gate.row(r), up.row(r), gate.cols); });
}

void GeluTanh(hw::MatrixView<float> x, hw::Threads threads) {
  ForRows(x.rows, x.cols, threads, [&](size_t r) { GeluTanhRun(x.row(r), x.cols); });
}

void GeluErf(hw::MatrixView<float> x, hw::Threads threads) {
  ForRows(x.rows, x.cols, threads, [&](size_t r) { GeluErfRun(x.row(r), x.cols); });
}

void AddScaled(hw::MatrixView<const float> x, float a, hw::MatrixView<float> y, hw::Threads threads) {
  assert(x.rows == y.rows && x.cols == y.cols);
  ForRows(x.rows, x.cols, threads, [&](size_t r) { AddScaledRun(x.row(r), a, x.cols, y.row(r)); });
}

}  // namespace qwen3vl
