// SPDX-License-Identifier: Apache-2.0
// A weight matrix of any format with random codes and sane scales, and what it stands for.
#pragma once

#include <cstring>
#include <vector>

#include "hw/float16.h"
#include "qwen3vl/linear.h"
#include "qwen3vl/quant.h"
#include "support/seeded.h"

namespace qwen3vl::test {

struct MadeWeight {
  std::vector<std::byte> bytes;
  Weight w;
  std::vector<float> values;  // [rows, cols]
};

// Where the half-precision scales of a block stand, and how large they are for weights of about 0.1.
struct BlockScales {
  std::vector<size_t> offsets;
  float amplitude;
};

inline BlockScales ScalesOf(hw::Format format) {
  switch (format) {
    case hw::Format::kQ6_K:
      return {{208}, 2e-4f};
    case hw::Format::kQ4_K:
    case hw::Format::kQ5_K:
      return {{0, 2}, 5e-4f};
    case hw::Format::kQ4_0:
      return {{0}, 0.04f};
    default:
      return {{0}, 2e-3f};
  }
}

inline MadeWeight MakeWeight(hw::Format format, size_t rows, size_t cols, uint64_t seed) {
  MadeWeight m;
  m.bytes.resize(rows * hw::RowBytes(format, cols));
  m.w = {.data = m.bytes.data(), .format = format, .rows = rows, .cols = cols};
  if (hw::IsQuantized(format)) {
    for (size_t i = 0; i < m.bytes.size(); ++i)
      m.bytes[i] = static_cast<std::byte>(SeededBits(seed, i) >> 40);
    const size_t block_bytes = hw::Info(format).block_bytes;
    const BlockScales scales = ScalesOf(format);
    for (size_t b = 0; b < m.bytes.size() / block_bytes; ++b)
      for (size_t offset : scales.offsets) {
        const hw::F16 scale = hw::ToF16(SeededValue(seed + 1, b * 4 + offset, scales.amplitude));
        std::memcpy(&m.bytes[b * block_bytes + offset], &scale, sizeof scale);
      }
  } else {
    const std::vector<float> values = SeededNormal(seed, rows * cols, 0.1f);
    for (size_t r = 0; r < rows; ++r)
      QuantizeRow(format, &values[r * cols], cols, &m.bytes[r * m.w.row_bytes()]);
  }
  m.values.resize(rows * cols);
  for (size_t r = 0; r < rows; ++r) DequantizeRow(format, m.w.row(r), cols, &m.values[r * cols]);
  return m;
}

}  // namespace qwen3vl::test
