// SPDX-License-Identifier: Apache-2.0
// Places arrays one after the other in a block of device memory that is yet to be taken.
#pragma once

#include <initializer_list>
#include <vector>

#include "hw/checked.h"
#include "qwen3vl/cuda/device_weight.h"

namespace qwen3vl {

class DevicePlaces {
 public:
  // Where an array of that many bytes begins: at a multiple of 256. Throws Error(kInvalidArgument) when sizes
  // overflow.
  size_t Take(std::initializer_list<size_t> factors) {
    const size_t bytes = hw::CheckedProduct(factors, kWhat), at = end_;
    end_ = hw::CheckedAdd(at, hw::CheckedAdd(bytes, 255, kWhat) / 256 * 256, kWhat);
    return at;
  }
  size_t Floats(std::initializer_list<size_t> factors) {
    return Take({hw::CheckedProduct(factors, kWhat), sizeof(float)});
  }
  // Precondition: the device has a format for it.
  PlacedWeight Matrix(const Weight& weight) {
    PlacedWeight placed{.layout = LayoutOf(weight)};
    placed.at = Take({placed.layout.bytes()});
    return placed;
  }
  // The same matrix of every expert, one after the other: where the first one lies.
  PlacedWeight Experts(const std::vector<Weight>& experts) {
    PlacedWeight placed{.layout = LayoutOf(experts.front())};
    placed.at = Take({experts.size(), placed.layout.bytes()});
    return placed;
  }
  size_t end() const { return end_; }

 private:
  static constexpr const char* kWhat = "memory on the GPU";
  size_t end_ = 0;
};

}  // namespace qwen3vl
