// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: tables of cos and sin for given positions, and the rotation itself ("rotate
// half" pairing). Su et al. 2021; interleaved M-RoPE and the 2-D form of the vision tower as in Hugging Face
// modeling_qwen3_vl.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hw/aligned_buffer.h"
#include "hw/parallel.h"
#include "hw/view.h"

namespace qwen3vl::rope {

// Time, height and width position of a token. Text tokens have all three alike.
struct Position {
  int32_t t = 0, h = 0, w = 0;
  bool operator==(const Position&) const = default;
};

// cos and sin of n tokens: [n, half] each, half = head_dim / 2. Angles are float32 products, as in the
// reference.
class RopeTable {
 public:
  // Interleaved M-RoPE: pair i turns by h if i % 3 == 1 and i < 3 * section[1], by w if i % 3 == 2 and i < 3
  // * section[2], else by t.
  static RopeTable Text(std::span<const Position> positions, size_t head_dim, double theta,
                        std::array<size_t, 3> section);
  // Vision: the first half of the pairs turns by the patch row (h), the second by the patch column (w); base
  // 10000.
  static RopeTable Vision(std::span<const Position> patches, size_t head_dim);

  size_t size() const { return size_; }
  size_t half() const { return half_; }
  const float* cos(size_t token) const { return cos_.data() + token * half_; }
  const float* sin(size_t token) const { return sin_.data() + token * half_; }

 private:
  RopeTable(size_t size, size_t half);
  size_t size_ = 0, half_ = 0;
  hw::AlignedBuffer<float> cos_, sin_;
};

// The angles behind RopeTable::Vision, [n, head_dim / 2]: row part, then column part. head_dim is a multiple
// of 4.
std::vector<float> VisionAngles(std::span<const Position> patches, size_t head_dim);

// Rotates n_heads heads of head_dim = 2 * table.half() in every row of x [n, >= n_heads * head_dim], in
// place. Row i takes entry i.
void Rotate(const RopeTable& table, hw::MatrixView<float> x, size_t n_heads, hw::Threads threads);

}  // namespace qwen3vl::rope
