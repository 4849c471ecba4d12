// SPDX-License-Identifier: Apache-2.0
// Separable resizing: first along the rows, then across them, an axis of unchanged size skipped. Pillow
// rounds to 8 bits after each pass (Resample.c); the float kind rounds once, at the end.
//
// The kernel sums whole stretches of memory. Across the rows that is natural; along the rows a few of them
// are transposed first, so that samples which take the same weights lie side by side.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "hw/aligned_buffer.h"
#include "hw/checked.h"
#include "qwen3vl/image.h"
#include "qwen3vl/resize_axis.h"
#include "qwen3vl/resize_simd.h"

namespace qwen3vl {
namespace {

constexpr size_t kChannels = 3;
constexpr size_t kBlockRows = 16;  // transposed together: one cache line of bytes for four columns

// to[c * kBlockRows + r] = from[r * n + c] for r < n_rows; rows that do not exist stay as they are.
template <class From, class To>
void Transpose(const From* from, size_t n_rows, size_t n, To* to) {
  constexpr size_t kStep = 16;  // columns at a time, so that both sides stay in the first cache
  for (size_t c0 = 0; c0 < n; c0 += kStep) {
    const size_t c1 = std::min(c0 + kStep, n);
    for (size_t r = 0; r < n_rows; ++r)
      for (size_t c = c0; c < c1; ++c) to[c * kBlockRows + r] = static_cast<To>(from[r * n + c]);
  }
}

// The way back: to[r * n + c] = from[c * kBlockRows + r].
template <class T>
void TransposeBack(const T* from, size_t n_rows, size_t n, T* to) {
  constexpr size_t kStep = 64;
  for (size_t c0 = 0; c0 < n; c0 += kStep) {
    const size_t c1 = std::min(c0 + kStep, n);
    for (size_t r = 0; r < n_rows; ++r)
      for (size_t c = c0; c < c1; ++c) to[r * n + c] = from[c * kBlockRows + r];
  }
}

// src [rows, in_width, 3] -> dst [rows, out_width, 3].
template <class Weight, class From, class T>
void ResizeRows(const From* src, size_t rows, size_t in_width, size_t out_width, hw::Threads threads,
                T* dst) {
  const AxisWeights<Weight> axis = MakeAxisWeights<Weight>(in_width, out_width);
  const size_t in_row = in_width * kChannels, out_row = out_width * kChannels;
  const size_t n_blocks = (rows + kBlockRows - 1) / kBlockRows;
  const size_t scratch_size = (in_row + out_row) * kBlockRows;
  auto scratch = hw::AlignedBuffer<T>::Zeroed(
      hw::CheckedMul(scratch_size, std::clamp<size_t>(threads.count, 1, n_blocks), "resize scratch"));
  hw::ParallelFor(threads, n_blocks, [&](size_t block, size_t thread) {
    T* in = scratch.data() + thread * scratch_size;
    T* out = in + in_row * kBlockRows;
    const size_t first_row = block * kBlockRows, n_rows = std::min(kBlockRows, rows - first_row);
    Transpose(src + first_row * in_row, n_rows, in_row, in);
    constexpr size_t kColumn = kChannels * kBlockRows;
    for (size_t x = 0; x < out_width; ++x)
      WeightedSum(in + axis.first[x] * kColumn, kColumn, axis.of(x), axis.n_taps[x], kColumn,
                  out + x * kColumn);
    TransposeBack(out, n_rows, out_row, dst + first_row * out_row);
  });
}

// src [in_height, row_size] -> dst [out_height, row_size].
template <class Weight, class T>
void ResizeColumns(const T* src, size_t in_height, size_t out_height, size_t row_size, hw::Threads threads,
                   T* dst) {
  const AxisWeights<Weight> axis = MakeAxisWeights<Weight>(in_height, out_height);
  hw::ParallelFor(threads, out_height, [&](size_t y, size_t) {
    WeightedSum(src + axis.first[y] * row_size, row_size, axis.of(y), axis.n_taps[y], row_size,
                dst + y * row_size);
  });
}

void CheckSizes(const RgbImage& in, ImageSize out) {
  if (in.width == 0 || in.height == 0 || out.width == 0 || out.height == 0 ||
      in.pixels.size() != hw::CheckedProduct({in.width, in.height, kChannels}, "picture"))
    throw Error(ErrorCode::kInvalidArgument,
                "resize: from " + std::to_string(in.width) + "x" + std::to_string(in.height) + " (" +
                    std::to_string(in.pixels.size()) + " bytes) to " + std::to_string(out.width) + "x" +
                    std::to_string(out.height) + ", want 3 bytes a pixel and at least one pixel");
}

RgbImage Blank(ImageSize size) {
  return {size.width, size.height,
          std::vector<uint8_t>(hw::CheckedProduct({size.width, size.height, kChannels}, "resized picture"))};
}

}  // namespace

RgbImage ResizeBicubic(const RgbImage& in, ImageSize out, hw::Threads threads) {
  CheckSizes(in, out);
  RgbImage rows;
  const RgbImage* source = &in;
  if (in.width != out.width) {
    rows = Blank({in.height, out.width});
    ResizeRows<int32_t>(in.pixels.data(), in.height, in.width, out.width, threads, rows.pixels.data());
    source = &rows;
  }
  if (in.height == out.height) return *source;
  RgbImage result = Blank(out);
  ResizeColumns<int32_t>(source->pixels.data(), in.height, out.height, out.width * kChannels, threads,
                         result.pixels.data());
  return result;
}

RgbImage ResizeBicubicFloat(const RgbImage& in, ImageSize out, hw::Threads threads) {
  CheckSizes(in, out);
  if (ImageSize{in.height, in.width} == out) return in;
  const size_t row_size = out.width * kChannels;
  RgbImage result = Blank(out);
  hw::AlignedBuffer<float> rows(hw::CheckedMul(in.height, row_size, "resized picture"));
  hw::AlignedBuffer<float> columns(result.pixels.size());
  ResizeRows<float>(in.pixels.data(), in.height, in.width, out.width, threads, rows.data());
  ResizeColumns<float>(rows.data(), in.height, out.height, row_size, threads, columns.data());
  hw::ParallelFor(threads, out.height, [&](size_t y, size_t) {
    for (size_t i = y * row_size; i < (y + 1) * row_size; ++i)  // ties to even, as torch rounds
      result.pixels[i] = static_cast<uint8_t>(std::nearbyint(std::clamp(columns[i], 0.0f, 255.0f)));
  });
  return result;
}

}  // namespace qwen3vl
