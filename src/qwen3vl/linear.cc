// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/linear.h"

#include <algorithm>
#include <cassert>

#include "hw/aligned_buffer.h"
#include "qwen3vl/linear_simd.h"
#include "qwen3vl/quant.h"

namespace qwen3vl {

void Linear(const Weight& w, hw::MatrixView<const float> x, hw::MatrixView<float> y,
            const LinearOptions& options, hw::Threads threads) {
  assert(x.rows == y.rows && x.cols == w.cols && y.cols == w.rows);
  constexpr size_t kRowsPerTask = 16;
  const size_t n_tasks = (w.rows + kRowsPerTask - 1) / kRowsPerTask;
  hw::AlignedBuffer<float> scratch(std::max<size_t>(1, std::min(threads.count, n_tasks)) * w.cols);
  hw::ParallelFor(threads, n_tasks, [&](size_t task, size_t thread) {
    float* row = scratch.data() + thread * w.cols;
    for (size_t r = task * kRowsPerTask; r < std::min(w.rows, (task + 1) * kRowsPerTask); ++r) {
      DequantizeRow(w.format, w.row(r), w.cols, row);
      for (size_t i = 0; i < x.rows; ++i) {
        float value = DotFloat(row, x.row(i), w.cols) + (options.bias ? options.bias[r] : 0.0f);
        if (options.accumulate) value += y.row(i)[r];
        y.row(i)[r] = value;
      }
    }
  });
}

}  // namespace qwen3vl
