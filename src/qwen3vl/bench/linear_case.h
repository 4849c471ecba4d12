// SPDX-License-Identifier: Apache-2.0
// Weight products, rotary embedding and norms as something to measure.
#pragma once

#include <memory>

#include "qwen3vl/bench/measure.h"
#include "qwen3vl/bench/presets.h"
#include "qwen3vl/linear.h"

namespace qwen3vl::bench {

// Random weights in any format: the rows of f32, f16, bf16 and q8_0 are rounded normal values; blocks of
// other formats hold random codes under small scales. The first 64 rows are random, the others repeat them.
hw::AlignedBuffer<std::byte> RandomWeights(hw::Format format, size_t rows, size_t cols, uint64_t seed);

struct LinearProblem {
  LinearShape shape;
  hw::Format format = hw::Format::kF32;
  size_t n_tokens = 1;
  size_t copies = 1;  // of the weights, used in turn
  Precision precision = Precision::kFast;
  bool interleaved = false;  // the copy that loading makes (interleave.h); for formats that have one
  size_t threads = 1;
};

// FLOP: 2 * outputs * inputs a token. Bytes: weights as stored, inputs and outputs once. Accuracy is against
// float64 sums over float32 inputs and dequantised weights, for 8 tokens and 64 outputs.
Variant MakeLinearVariant(const LinearProblem& problem, Row row);

// Rotation of q: 6 operations a pair of values; bytes: values read and written, table read.
Variant MakeRopeVariant(const Preset& preset, size_t n_tokens, size_t threads, Row row);

// The norm before the layer's products: 4 operations a value (RMS), 7 (LayerNorm); bytes: values read and
// written.
Variant MakeNormVariant(const Preset& preset, size_t n_tokens, size_t threads, Row row);

}  // namespace qwen3vl::bench
