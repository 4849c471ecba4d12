// SPDX-License-Identifier: Apache-2.0
// How a weight matrix lies on a GPU: rows begin at multiples of 16 bytes, and so does all that a lane loads
// at once, which the file's blocks of 34, 18 or 210 bytes do not allow. Bytes are those of the file, but for
// rows that are padded with zeros to whole blocks of 256 columns.
//   f32, f16, bf16   as in the file
//   q8_0   a block: the 8 scales of the file's blocks, then their 256 codes
//   q4_0   a block: the 8 scales, then 128 bytes of codes in the order of q4_K
//   q4_K, q5_K   as in the file
//   q6_K   all blocks without their scale (208 bytes), then the scales, 16 bytes for 8 blocks
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "hw/cuda_device.h"
#include "qwen3vl/cuda/layer_params.h"
#include "qwen3vl/linear.h"

namespace qwen3vl {

// The format on the device, or nothing where there is no kernel for it.
std::optional<gpu::WeightFormat> DeviceFormatOf(hw::Format format);

// "Q4_K", as kernels are named.
const char* NameOf(gpu::WeightFormat format);

struct DeviceWeight {
  gpu::WeightFormat format = gpu::WeightFormat::kF32;
  size_t rows = 0, cols = 0;
  size_t blocks = 0;  // of 256 columns; 0: floats
  size_t row_bytes = 0;

  bool has_codes() const { return blocks != 0; }
  size_t padded_cols() const { return blocks * gpu::kBlockCols; }
  size_t bytes() const { return rows * row_bytes; }
};

// Where a matrix, and its bias if it has one, begin in a block of weights.
struct PlacedWeight {
  DeviceWeight layout;
  size_t at = 0;
  std::optional<size_t> bias;
};

// Why the products cannot take this weight, or an empty text: "q3_K weights, want f32, ...".
std::string WhyNotOnGpu(const Weight& weight);

// Precondition: DeviceFormatOf has one. Overflow-checked.
DeviceWeight LayoutOf(const Weight& weight);

// Rows first .. first + count - 1 of the weight into `out` [count, layout.row_bytes].
void PackRows(const Weight& weight, const DeviceWeight& layout, size_t first, size_t count, std::byte* out);

// The weight to its place. Throws Error(kDevice).
void UploadMatrix(const Weight& weight, const PlacedWeight& placed, const hw::CudaBuffer& weights);

}  // namespace qwen3vl
