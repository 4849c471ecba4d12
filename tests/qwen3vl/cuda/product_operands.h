// SPDX-License-Identifier: Apache-2.0
// What a product on the device is of: weights packed as they lie there, and activations, rounded to 8 bits
// where the weights have codes.
#pragma once

#include <vector>

#include "cuda/kernel_runs.h"
#include "qwen3vl/cuda/device_address.h"
#include "qwen3vl/cuda/device_weight.h"
#include "qwen3vl/cuda/quantized_weight.h"

namespace qwen3vl::test {

struct ProductOperands {
  MadeWeight made;  // [rows, cols]
  DeviceWeight layout;
  std::vector<std::byte> packed;
  std::vector<float> x;  // [n, cols]
  std::vector<int8_t> q;
  std::vector<float> scales, sums;
  std::vector<double> seen;  // x as a product sees it

  ProductOperands(hw::Format format, size_t rows, size_t cols, size_t n)
      : made(MakeWeight(format, rows, cols, 5)),
        layout(LayoutOf(made.w)),
        packed(layout.bytes()),
        x(SeededNormal(11, n * cols)),
        q(n * layout.padded_cols()),
        scales(q.size() / 32),
        sums(q.size() / 16),
        seen(x.begin(), x.end()) {
    PackRows(made.w, layout, 0, rows, packed.data());
    if (!layout.has_codes()) return;
    const size_t padded = layout.padded_cols();
    const gpu::QuantizeParams p{
        x.data(),    reinterpret_cast<unsigned*>(q.data()), scales.data(),
        sums.data(), static_cast<unsigned>(cols),           static_cast<unsigned>(padded)};
    RunSource("layer_quantize", {Groups(padded, gpu::kQuantizeCols), static_cast<unsigned>(n)}, &p);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t at = i / cols * padded + i % cols;
      seen[i] = double{scales[at / 32]} * q[at];
    }
  }

  // Of the first n rows of x from row `first` on; y [n, rows].
  gpu::ProductParams Params(size_t first, size_t n, std::vector<float>& y) const {
    const size_t at = first * layout.padded_cols();
    return {.weights = packed.data(),
            .x = x.data() + first * layout.cols,
            .q = reinterpret_cast<const unsigned*>(q.data() + at),
            .scales = scales.data() + at / 32,
            .sums = sums.data() + at / 16,
            .bias = nullptr,
            .y = y.data(),
            .rows = static_cast<unsigned>(layout.rows),
            .cols = static_cast<unsigned>(layout.cols),
            .n = static_cast<unsigned>(n),
            .blocks = static_cast<unsigned>(layout.blocks),
            .row_bytes = static_cast<unsigned>(layout.row_bytes),
            .accumulate = 0};
  }
};

}  // namespace qwen3vl::test
