// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/linear_case.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "hw/checked.h"
#include "hw/cpu_info.h"
#include "hw/float16.h"
#include "hw/huge_pages.h"
#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/random.h"
#include "qwen3vl/deviation.h"
#include "qwen3vl/error.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/quant.h"

namespace qwen3vl::bench {
namespace {

// Repeated, to be made quickly. A prime: a task that begins a power of two of rows too early or late must not
// find the same weights there.
constexpr size_t kDistinctRows = 61;
constexpr size_t kCheckedTokens = 8, kCheckedOutputs = 64;

// Where the F16 scales of a block lie.
std::vector<size_t> ScaleOffsets(hw::Format format) {
  switch (format) {
    case hw::Format::kQ4_0:
    case hw::Format::kQ5_0:
    case hw::Format::kIQ4_NL:
    case hw::Format::kIQ4_XS:
      return {0};
    case hw::Format::kQ4_1:
    case hw::Format::kQ5_1:
    case hw::Format::kQ4_K:
    case hw::Format::kQ5_K:
      return {0, 2};
    case hw::Format::kQ2_K:
      return {80, 82};
    case hw::Format::kQ3_K:
      return {108};
    case hw::Format::kQ6_K:
      return {208};
    default:
      throw Error(ErrorCode::kUnsupported, "random weights in format " + std::string(hw::Name(format)));
  }
}

bool HasQuantizer(hw::Format f) {
  return f == hw::Format::kF32 || f == hw::Format::kF16 || f == hw::Format::kBF16 || f == hw::Format::kQ8_0;
}

void RandomBlocks(hw::Format format, RandomBits& bits, std::byte* row, size_t row_bytes) {
  const std::vector<size_t> scales = ScaleOffsets(format);
  const size_t block = hw::Info(format).block_bytes;
  for (size_t i = 0; i < row_bytes; ++i) row[i] = static_cast<std::byte>(bits() >> 56);
  for (size_t at = 0; at < row_bytes; at += block)
    for (const size_t offset : scales) {
      const hw::F16 scale = hw::ToF16(1e-4f * static_cast<float>(1 + (bits() & 7)));
      std::memcpy(row + at + offset, &scale.bits, sizeof scale.bits);
    }
}

struct LinearData {
  LinearProblem problem;
  hw::AlignedBuffer<std::byte> one;      // matrix
  hw::AlignedBuffer<std::byte> weights;  // [copies] of it, interleaved where that is asked for
  hw::AlignedBuffer<float> x, y;

  Weight Matrix(size_t copy) const {
    Weight w{one.data(), problem.format, problem.shape.outputs, problem.shape.inputs};
    (problem.interleaved ? w.interleaved : w.data) = weights.data() + copy * one.size();
    return w;
  }
  void Run(size_t copy) {
    const size_t n = problem.n_tokens;
    Linear(Matrix(copy), {x.data(), n, problem.shape.inputs}, {y.data(), n, problem.shape.outputs},
           {.precision = problem.precision}, hw::Threads{problem.threads});
  }
  Accuracy Check() const;
};

size_t Spread(size_t i, size_t picked, size_t of) { return picked > 1 ? i * (of - 1) / (picked - 1) : 0; }

Accuracy LinearData::Check() const {
  const Weight w = Matrix(0);
  const size_t n_tokens = std::min(problem.n_tokens, kCheckedTokens);
  const size_t n_outputs = std::min(w.rows, kCheckedOutputs);
  std::vector<float> row(w.cols);
  Deviation deviation;
  for (size_t o = 0; o < n_outputs; ++o) {
    const size_t output = Spread(o, n_outputs, w.rows);
    DequantizeRow(w.format, w.row(output), w.cols, row.data());
    for (size_t t = 0; t < n_tokens; ++t) {
      const size_t token = Spread(t, n_tokens, problem.n_tokens);
      const float* in = x.data() + token * w.cols;
      double sum = 0;
      for (size_t c = 0; c < w.cols; ++c) sum += static_cast<double>(in[c]) * row[c];
      deviation.Add(y[token * w.rows + output], sum);
    }
  }
  return {deviation.max_abs, deviation.rel_norm(), n_tokens * n_outputs,
          "sums in float64 over float32 inputs and dequantised weights"};
}

}  // namespace

hw::AlignedBuffer<std::byte> RandomWeights(hw::Format format, size_t rows, size_t cols, uint64_t seed) {
  const size_t row_bytes = hw::RowBytes(format, cols);
  hw::AlignedBuffer<std::byte> out(hw::CheckedMul(rows, row_bytes, "weights"));
  RandomBits bits(seed);
  std::vector<float> values(cols);
  for (size_t r = 0; r < rows; ++r) {
    std::byte* row = out.data() + r * row_bytes;
    if (r >= kDistinctRows) {
      std::memcpy(row, out.data() + r % kDistinctRows * row_bytes, row_bytes);
    } else if (HasQuantizer(format)) {
      FillRandom(values, bits(), 0.02f);
      QuantizeRow(format, values.data(), cols, row);
    } else {
      RandomBlocks(format, bits, row, row_bytes);
    }
  }
  return out;
}

Variant MakeLinearVariant(const LinearProblem& p, Row row) {
  const auto data = std::make_shared<LinearData>();
  data->problem = p;
  data->one = RandomWeights(p.format, p.shape.outputs, p.shape.inputs, 11);
  const hw::AlignedBuffer<std::byte>& one = data->one;
  data->weights = hw::AlignedBuffer<std::byte>(hw::CheckedMul(one.size(), p.copies, "weights"));
  if (p.interleaved) hw::AdviseHugePages(data->weights.data(), data->weights.size());  // as Repack does
  for (size_t copy = 0; copy < p.copies; ++copy) {
    std::byte* to = data->weights.data() + copy * one.size();
    if (p.interleaved) {
      InterleaveRows({one.data(), p.format, p.shape.outputs, p.shape.inputs}, to, hw::Threads{p.threads});
    } else {
      std::memcpy(to, one.data(), one.size());
    }
  }
  data->x = hw::AlignedBuffer<float>(p.n_tokens * p.shape.inputs);
  FillRandom(data->x.span(), 12);
  data->y = hw::AlignedBuffer<float>::Zeroed(p.n_tokens * p.shape.outputs);

  const double n = static_cast<double>(p.n_tokens);
  const double outputs = static_cast<double>(p.shape.outputs), inputs = static_cast<double>(p.shape.inputs);
  row.shape = {{"tokens", p.n_tokens}, {"outputs", p.shape.outputs}, {"inputs", p.shape.inputs}};
  if (p.copies > 1) row.shape.emplace_back("copies", p.copies);
  row.length = p.n_tokens;
  row.dtype = hw::Name(p.format);
  row.path = p.precision == Precision::kExact   ? "exact"
             : p.precision == Precision::kInt16 ? "int16"
             : p.interleaved                    ? "interleaved"
                                                : "fast";
  row.threads = p.threads;
  row.isa = hw::Name(hw::SelectedIsa());
  row.flop = 2 * n * outputs * inputs;
  row.bytes = static_cast<double>(one.size()) + sizeof(float) * n * (outputs + inputs);
  row.formula = "flop: 2 * tokens * outputs * inputs; bytes: weights, inputs and outputs once";
  row.tokens = p.n_tokens;
  Variant v;
  v.row = std::move(row);
  v.units = p.copies;
  v.run = [data] {
    for (size_t copy = 0; copy < data->problem.copies; ++copy) data->Run(copy);
  };
  v.check = [data] {
    data->Run(0);
    return data->Check();
  };
  return v;
}

}  // namespace qwen3vl::bench
