// SPDX-License-Identifier: Apache-2.0
#include "attention/row_codec.h"

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
      for (size_t b = 0; b < n / 32; ++b) StoreAs(row, b, hw::QuantizeQ8_0(values + b * 32));
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
