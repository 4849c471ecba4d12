// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/device_weight.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "hw/checked.h"

namespace qwen3vl {
namespace {

using gpu::WeightFormat;

constexpr size_t kUploadBytes = size_t{4} << 20;  // packed and brought to the device at a time
constexpr size_t kHeadBytes = 16;                 // eight f16 scales
constexpr size_t kNibbleBytes = 128;              // 256 codes of 4 bits
constexpr size_t kQ8Bytes = kHeadBytes + 256, kQ4Bytes = kHeadBytes + kNibbleBytes;
constexpr size_t kQ5Bytes = 176;
constexpr size_t kQ6Bytes = 208, kFileQ6Bytes = 210;

size_t RoundUp16(size_t n) { return (n + 15) / 16 * 16; }

size_t RowBytesOf(WeightFormat format, size_t cols, size_t blocks) {
  switch (format) {
    case WeightFormat::kF32:
      return RoundUp16(cols * sizeof(float));
    case WeightFormat::kF16:
    case WeightFormat::kBF16:
      return RoundUp16(cols * sizeof(uint16_t));
    case WeightFormat::kQ8_0:
      return blocks * kQ8Bytes;
    case WeightFormat::kQ4_0:
    case WeightFormat::kQ4_K:
      return blocks * kQ4Bytes;
    case WeightFormat::kQ5_K:
      return blocks * kQ5Bytes;
    case WeightFormat::kQ6_K:
      break;
  }
  return blocks * kQ6Bytes + RoundUp16(blocks * sizeof(uint16_t));
}

// Blocks of 32 in the file, scale first, to blocks of 256.
void PackQ8Row(const std::byte* row, size_t cols, std::byte* out) {
  constexpr size_t kFileBytes = sizeof(hw::BlockQ8_0);
  for (size_t b = 0; b < cols / 32; ++b) {
    std::byte* block = out + b / 8 * kQ8Bytes;
    std::memcpy(block + b % 8 * 2, row + b * kFileBytes, 2);
    std::memcpy(block + kHeadBytes + b % 8 * 32, row + b * kFileBytes + 2, 32);
  }
}

// In the file a byte holds columns i and i + 16 of a block; here columns i of two neighbouring blocks.
void PackQ4Row(const std::byte* row, size_t cols, std::byte* out) {
  constexpr size_t kFileBytes = 18;
  for (size_t b = 0; b < cols / 32; ++b) {
    std::byte* block = out + b / 8 * kQ4Bytes;
    std::memcpy(block + b % 8 * 2, row + b * kFileBytes, 2);
    std::byte* codes = block + kHeadBytes + b % 8 / 2 * 32;
    const int shift = b % 2 ? 4 : 0;
    for (size_t i = 0; i < 16; ++i) {
      const std::byte two = row[b * kFileBytes + 2 + i];
      codes[i] |= (two & std::byte{15}) << shift;
      codes[i + 16] |= (two >> 4) << shift;
    }
  }
}

void PackQ6Row(const std::byte* row, size_t blocks, std::byte* out) {
  for (size_t b = 0; b < blocks; ++b) {
    std::memcpy(out + b * kQ6Bytes, row + b * kFileQ6Bytes, kQ6Bytes);
    std::memcpy(out + blocks * kQ6Bytes + b * 2, row + b * kFileQ6Bytes + kQ6Bytes, 2);
  }
}

}  // namespace

std::optional<WeightFormat> DeviceFormatOf(hw::Format format) {
  switch (format) {
    case hw::Format::kF32:
      return WeightFormat::kF32;
    case hw::Format::kF16:
      return WeightFormat::kF16;
    case hw::Format::kBF16:
      return WeightFormat::kBF16;
    case hw::Format::kQ8_0:
      return WeightFormat::kQ8_0;
    case hw::Format::kQ4_0:
      return WeightFormat::kQ4_0;
    case hw::Format::kQ4_K:
      return WeightFormat::kQ4_K;
    case hw::Format::kQ5_K:
      return WeightFormat::kQ5_K;
    case hw::Format::kQ6_K:
      return WeightFormat::kQ6_K;
    default:
      return std::nullopt;
  }
}

const char* NameOf(WeightFormat format) {
  constexpr const char* kNames[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K"};
  static_assert(std::size(kNames) == gpu::kWeightFormats);
  return kNames[static_cast<size_t>(format)];
}

std::string WhyNotOnGpu(const Weight& weight) {
  if (!DeviceFormatOf(weight.format))
    return std::string(hw::Name(weight.format)) +
           " weights, want f32, f16, bf16, q8_0, q4_0, q4_K, q5_K or q6_K";
  if (weight.cols % 8 != 0)
    return "rows of " + std::to_string(weight.cols) + " weights, want a multiple of 8";
  return {};
}

DeviceWeight LayoutOf(const Weight& weight) {
  DeviceWeight layout;
  layout.format = *DeviceFormatOf(weight.format);
  layout.rows = weight.rows;
  layout.cols = weight.cols;
  if (hw::IsQuantized(weight.format)) layout.blocks = (weight.cols + gpu::kBlockCols - 1) / gpu::kBlockCols;
  layout.row_bytes = RowBytesOf(layout.format, layout.cols, layout.blocks);
  hw::CheckedMul(layout.rows, layout.row_bytes, "weights on the GPU");
  return layout;
}

void PackRows(const Weight& weight, const DeviceWeight& layout, size_t first, size_t count, std::byte* out) {
  std::memset(out, 0, count * layout.row_bytes);
  for (size_t r = 0; r < count; ++r, out += layout.row_bytes) {
    const std::byte* row = weight.row(first + r);
    switch (layout.format) {
      case WeightFormat::kQ8_0:
        PackQ8Row(row, weight.cols, out);
        break;
      case WeightFormat::kQ4_0:
        PackQ4Row(row, weight.cols, out);
        break;
      case WeightFormat::kQ6_K:
        PackQ6Row(row, layout.blocks, out);
        break;
      default:
        std::memcpy(out, row, weight.row_bytes());
    }
  }
}

void UploadMatrix(const Weight& weight, const PlacedWeight& placed, const hw::CudaBuffer& weights) {
  const size_t rows = std::max<size_t>(1, kUploadBytes / placed.layout.row_bytes);
  std::vector<std::byte> packed(std::min(rows, weight.rows) * placed.layout.row_bytes);
  for (size_t first = 0; first < weight.rows; first += rows) {
    const size_t count = std::min(rows, weight.rows - first);
    PackRows(weight, placed.layout, first, count, packed.data());
    weights.Upload(placed.at + first * placed.layout.row_bytes, packed.data(),
                   count * placed.layout.row_bytes);
  }
}

}  // namespace qwen3vl
