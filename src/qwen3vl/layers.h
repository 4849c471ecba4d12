// SPDX-License-Identifier: Apache-2.0
// The element-wise parts of a transformer block. All work in place or row by row in float32, vectorised per
// ISA.
#pragma once

#include <cstddef>

#include "hw/parallel.h"
#include "hw/view.h"

namespace qwen3vl {

// y = w * x / sqrt(mean(x^2) + eps), per row; w [cols]. y may be x.
void RmsNorm(hw::MatrixView<const float> x, const float* w, float eps, hw::MatrixView<float> y,
             hw::Threads threads);
// The same for each of n_heads heads of head_dim in every row, in place; w [head_dim].
void RmsNormHeads(hw::MatrixView<float> x, size_t n_heads, size_t head_dim, const float* w, float eps,
                  hw::Threads threads);
// y = w * (x - mean) / sqrt(var + eps) + b, biased variance, per row. y may be x.
void LayerNorm(hw::MatrixView<const float> x, const float* w, const float* b, float eps,
               hw::MatrixView<float> y, hw::Threads threads);
// gate = silu(gate) * up.
void SwiGlu(hw::MatrixView<float> gate, hw::MatrixView<const float> up, hw::Threads threads);
// 0.5 z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))), in place.
void GeluTanh(hw::MatrixView<float> x, hw::Threads threads);
// 0.5 z (1 + erf(z / sqrt 2)), in place.
void GeluErf(hw::MatrixView<float> x, hw::Threads threads);
// y += a * x.
void AddScaled(hw::MatrixView<const float> x, float a, hw::MatrixView<float> y, hw::Threads threads);

}  // namespace qwen3vl
