// SPDX-License-Identifier: Apache-2.0
// What linear.cc asks of the kernels, compiled per instruction set. Two ways to a product:
//   few activation rows: every weight row is unpacked as it streams by and multiplied at once
//   (linear_dot_simd.cc); many: panels of weight rows are unpacked once and multiplied in register blocks
//   with all activation rows (linear_tile_simd.cc in 8 bits, linear_int16_simd.cc in 16,
//   linear_float_simd.cc in float32 arithmetic).
// No threads and no allocation inside.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hw/number_format.h"
#include "hw/view.h"
#include "qwen3vl/linear.h"

namespace qwen3vl {

// Largest value of an unpacked code: says how many products an int16 can take before it overflows.
enum class CodeRange { kUnsigned4, kUnsigned5, kUnsigned6, kSigned8 };

// How many products of a code with an activation of at most 127, two to a sum, an int16 can add up.
constexpr size_t PairSumsInWord(CodeRange range) {
  switch (range) {
    case CodeRange::kUnsigned4:
      return 8;
    case CodeRange::kUnsigned5:
      return 4;
    case CodeRange::kUnsigned6:
      return 2;
    default:
      return 1;
  }
}

struct CodeInfo {
  CodeRange range;
  size_t sub_block;  // weights that share a scale: 16 or 32
};

constexpr CodeInfo CodesOf(hw::Format format) {
  switch (format) {
    case hw::Format::kQ4_0:
    case hw::Format::kQ4_1:
    case hw::Format::kQ4_K:
      return {CodeRange::kUnsigned4, 32};
    case hw::Format::kQ2_K:
    case hw::Format::kQ3_K:
      return {CodeRange::kUnsigned4, 16};
    case hw::Format::kQ5_0:
    case hw::Format::kQ5_1:
    case hw::Format::kQ5_K:
    case hw::Format::kMXFP4:
      return {CodeRange::kUnsigned5, 32};
    case hw::Format::kQ6_K:
      return {CodeRange::kUnsigned6, 16};
    default:
      return {CodeRange::kSigned8, 32};
  }
}

// Bytes of one activation row in 8 bits as DotRows reads it; `cols` is padded to 256 with zeros.
struct QuantizedRow {
  static constexpr size_t kStep = 256;
  static constexpr size_t Padded(size_t cols) { return (cols + kStep - 1) / kStep * kStep; }
  // q [padded]; then per 256: scales of 32s [8], of 16s [16]; scale * sum of q of 32s [8], of 16s [16].
  static constexpr size_t kFloatsPerStep = 48;
  static constexpr size_t Bytes(size_t cols) {
    return Padded(cols) + Padded(cols) / kStep * kFloatsPerStep * sizeof(float);
  }
};

// x [cols] to 8 bits: scale = max |x| / 127 of each 32, q = x / scale to nearest. `out` is 64-byte aligned.
void QuantizeActivationRow(const float* x, size_t cols, std::byte* out) noexcept;

// One task of either product: rows [row_begin, row_end) of w with all activation rows.
struct ProductTask {
  const Weight* w = nullptr;
  size_t row_begin = 0;
  size_t row_end = 0;
  // Activations as the product wants them: rows QuantizedRow::Bytes apart, packed groups, or null (floats of
  // x).
  const std::byte* packed = nullptr;
  hw::MatrixView<const float> x;
  hw::MatrixView<float> y;
  const float* bias = nullptr;
  bool accumulate = false;
  std::byte* scratch = nullptr;  // of this thread, TileInfo::panel_bytes for each panel of the task
};

void DotRowsInt8(const ProductTask& task) noexcept;
void DotRowsFloat(const ProductTask& task) noexcept;

// How the many-row product packs its activations.
enum class Packing { kFloat, kInt8, kInt16 };

struct TileInfo {
  Packing packing;
  size_t panel_rows;   // weight rows of a panel; a task has one or more
  size_t cols;         // activation rows of a group
  size_t group_bytes;  // of one packed group
  size_t panel_bytes;  // of one unpacked panel
};

// Activation rows up to which streaming wins (measured with AVX2 and VNNI): a panel is to be made, but a row
// is unpacked again for every activation row. `packing`: of the product of many rows.
constexpr size_t MaxDotRows(hw::Format format, Packing packing) {
  if (packing == Packing::kInt16 || !hw::IsQuantized(format)) return 12;
  return packing == Packing::kInt8 && CodesOf(format).range == CodeRange::kUnsigned6 ? 5 : 4;
}
inline constexpr size_t kMaxDotRows = 12;  // of them all

// For this instruction set.
TileInfo TileInfoQuantized(hw::Format format, size_t cols) noexcept;  // in 8 bits, or 16 where that is faster
TileInfo TileInfoFloat(size_t cols) noexcept;
TileInfo TileInfoInt16(size_t cols) noexcept;

// Pack rows of x, info.cols at a time; missing rows of the last group become zeros. In 8 bits: up to
// info.cols rows into one group. The others: group g of n_groups of x, into its places among all of them.
void PackGroupInt8(const TileInfo& info, hw::MatrixView<const float> x, std::byte* group) noexcept;
void PackGroupFloat(hw::MatrixView<const float> x, size_t n_groups, size_t g, float* packed) noexcept;
void PackGroupInt16(hw::MatrixView<const float> x, size_t n_groups, size_t g, std::byte* packed) noexcept;

void TileRowsInt8(const TileInfo& info, const ProductTask& task) noexcept;
void TileRowsFloat(const ProductTask& task) noexcept;
// Of f32, f16 and bf16 weights, and of those that TileInfoQuantized() puts here.
void TileRowsInt16(const ProductTask& task) noexcept;

}  // namespace qwen3vl
