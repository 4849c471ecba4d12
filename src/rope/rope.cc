// SPDX-License-Identifier: Apache-2.0
#include "rope/rope.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

#include "rope/rope_simd.h"

namespace qwen3vl::rope {
namespace {

// base^(-2i / dim) for i = 0 .. dim/2 - 1, rounded to float32 at every step as the reference does.
std::vector<float> InverseFrequencies(float base, size_t dim) {
  std::vector<float> out(dim / 2);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = 1.0f / std::pow(base, static_cast<float>(2 * i) / static_cast<float>(dim));
  return out;
}

}  // namespace

RopeTable::RopeTable(size_t size, size_t half)
    : size_(size),
      half_(half),
      cos_(hw::CheckedMul(size, half, "rope table")),
      sin_(hw::CheckedMul(size, half, "rope table")) {}

RopeTable RopeTable::Text(std::span<const Position> positions, size_t head_dim, double theta,
                          std::array<size_t, 3> section) {
  assert(head_dim % 2 == 0);
  RopeTable table(positions.size(), head_dim / 2);
  const std::vector<float> frequency = InverseFrequencies(static_cast<float>(theta), head_dim);
  const auto axis = [&](const Position& p, size_t i) {
    if (i % 3 == 1 && i < 3 * section[1]) return p.h;
    if (i % 3 == 2 && i < 3 * section[2]) return p.w;
    return p.t;
  };
  for (size_t n = 0; n < positions.size(); ++n) {
    for (size_t i = 0; i < table.half_; ++i) {
      const float angle = static_cast<float>(axis(positions[n], i)) * frequency[i];
      table.cos_[n * table.half_ + i] = std::cos(angle);
      table.sin_[n * table.half_ + i] = std::sin(angle);
    }
  }
  return table;
}

std::vector<float> VisionAngles(std::span<const Position> patches, size_t head_dim) {
  assert(head_dim % 4 == 0);
  constexpr float kBase = 10000.0f;
  const size_t half = head_dim / 2, quarter = head_dim / 4;
  const std::vector<float> frequency = InverseFrequencies(kBase, half);
  std::vector<float> angles(patches.size() * half);
  for (size_t n = 0; n < patches.size(); ++n) {
    for (size_t j = 0; j < quarter; ++j) {
      angles[n * half + j] = static_cast<float>(patches[n].h) * frequency[j];
      angles[n * half + quarter + j] = static_cast<float>(patches[n].w) * frequency[j];
    }
  }
  return angles;
}

RopeTable RopeTable::Vision(std::span<const Position> patches, size_t head_dim) {
  RopeTable table(patches.size(), head_dim / 2);
  const std::vector<float> angles = VisionAngles(patches, head_dim);
  for (size_t i = 0; i < angles.size(); ++i) {
    table.cos_[i] = std::cos(angles[i]);
    table.sin_[i] = std::sin(angles[i]);
  }
  return table;
}

void Rotate(const RopeTable& table, hw::MatrixView<float> x, size_t n_heads, hw::Threads threads) {
  assert(x.rows <= table.size());
  assert(x.cols >= n_heads * 2 * table.half());
  // A task of some 8k values costs more than handing it out.
  const size_t row_values = n_heads * 2 * table.half();
  const size_t rows_per_task = row_values >= 8192 || row_values == 0 ? 1 : 8192 / row_values;
  hw::ParallelFor(threads, (x.rows + rows_per_task - 1) / rows_per_task, [&](size_t task, size_t) {
    const size_t end = std::min(x.rows, (task + 1) * rows_per_task);
    for (size_t r = task * rows_per_task; r < end; ++r)
      RotateRow(table.cos(r), table.sin(r), table.half(), n_heads, x.row(r));
  });
}

}  // namespace qwen3vl::rope
