// SPDX-License-Identifier: Apache-2.0
#include "attention/row_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hw/float16.h"

namespace qwen3vl::attention {
namespace {

template <class T>
T LoadAs(const void* base, size_t index) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(base) + index * sizeof(T), sizeof(T));
  return value;
}

template <class T>
void StoreAs(void* base, size_t index, const T& value) {
  std::memcpy(static_cast<std::byte*>(base) + index * sizeof(T), &value, sizeof(T));
}

hw::BlockQ8_0 QuantizeBlock(const float* values) {
  float largest = 0;
  for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127.0f;
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  hw::BlockQ8_0 block;
  block.d = hw::ToF16(scale).bits;
  for (size_t i = 0; i < 32; ++i) {
    const float level = std::clamp(std::nearbyint(values[i] * inverse), -127.0f, 127.0f);
    block.q[i] = level == level ? static_cast<int8_t>(level) : int8_t{0};
  }
  return block;
}

}  // namespace

void EncodeRow(hw::Format format, const float* values, size_t n, void* row) noexcept {
  switch (format) {
    case hw::Format::kF16:
      for (size_t i = 0; i < n; ++i) StoreAs(row, i, hw::ToF16(values[i]));
      return;
    case hw::Format::kBF16:
      for (size_t i = 0; i < n; ++i) StoreAs(row, i, hw::ToBF16(values[i]));
      return;
    case hw::Format::kQ8_0:
      for (size_t b = 0; b < n / 32; ++b) StoreAs(row, b, QuantizeBlock(values + b * 32));
      return;
    default:
      std::memcpy(row, values, n * sizeof(float));
  }
}

void DecodeRow(hw::Format format, const void* row, size_t n, float* values) noexcept {
  switch (format) {
    case hw::Format::kF16:
      for (size_t i = 0; i < n; ++i) values[i] = hw::ToFloat(LoadAs<hw::F16>(row, i));
      return;
    case hw::Format::kBF16:
      for (size_t i = 0; i < n; ++i) values[i] = hw::ToFloat(LoadAs<hw::BF16>(row, i));
      return;
    case hw::Format::kQ8_0:
      for (size_t b = 0; b < n / 32; ++b) {
        const auto block = LoadAs<hw::BlockQ8_0>(row, b);
        const float scale = hw::ToFloat(hw::F16{block.d});
        for (size_t i = 0; i < 32; ++i) values[b * 32 + i] = scale * block.q[i];
      }
      return;
    default:
      std::memcpy(values, row, n * sizeof(float));
  }
}

}  // namespace qwen3vl::attention
