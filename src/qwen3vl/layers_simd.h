// SPDX-License-Identifier: Apache-2.0
// Rows and runs of the element-wise layers, compiled per instruction set. No threads inside.
#pragma once

#include <cstddef>

namespace qwen3vl {

// y may be x in all of them; vectors are [n].
void RmsNormRow(const float* x, const float* w, size_t n, float eps, float* y) noexcept;
void LayerNormRow(const float* x, const float* w, const float* b, size_t n, float eps, float* y) noexcept;
// gate = gate / (1 + exp(-gate)) * up
void SwiGluRun(float* gate, const float* up, size_t n) noexcept;
void GeluTanhRun(float* x, size_t n) noexcept;
void GeluErfRun(float* x, size_t n) noexcept;
// y += a * x
void AddScaledRun(const float* x, float a, size_t n, float* y) noexcept;

}  // namespace qwen3vl
