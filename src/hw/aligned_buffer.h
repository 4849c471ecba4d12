// SPDX-License-Identifier: Apache-2.0
// An owning, cache-line aligned, move-only array for tensors and scratch memory.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "hw/checked.h"

namespace qwen3vl::hw {

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  // Uninitialised memory for `size` elements; throws std::bad_alloc when there is none.
  explicit AlignedBuffer(size_t size) : size_(size) {
    if (size == 0) return;
    const size_t bytes =
        CheckedAdd(CheckedMul(size, sizeof(T), "buffer"), kAlignment - 1, "buffer") / kAlignment * kAlignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(kAlignment, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  // The buffer moved from is empty and may be used again.
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  // `size` elements, all bytes zero.
  static AlignedBuffer Zeroed(size_t size) {
    AlignedBuffer b(size);
    if (size) std::memset(b.data(), 0, size * sizeof(T));
    return b;
  }

  // Grows to at least `size` elements; the content is lost when it grows.
  void Reserve(size_t size) {
    if (size > size_) *this = AlignedBuffer(size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t size_ = 0;
};

}  // namespace qwen3vl::hw
