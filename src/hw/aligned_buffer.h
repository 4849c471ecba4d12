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
#include "hw/huge_pages.h"

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
  // Uninitialised memory that is worked in from end to end: in huge pages where the system has them, since
  // rows that lie a page or more apart cost a table walk each otherwise. Half a huge page at most is left
  // unused.
  static AlignedBuffer InHugePages(size_t size) {
    const size_t bytes = CheckedMul(size, sizeof(T), "buffer");
    const size_t rest = bytes % kHugePageBytes;
    if (bytes < kHugePageBytes / 2) return AlignedBuffer(size);
    const size_t whole =
        rest < kHugePageBytes / 2 ? bytes : CheckedAdd(bytes, kHugePageBytes - rest, "buffer");
    void* data = nullptr;
    if (posix_memalign(&data, kHugePageBytes, whole) != 0) throw std::bad_alloc();
    AdviseHugePages(data, whole);
    AlignedBuffer b;
    b.data_.reset(static_cast<T*>(data));
    b.size_ = size;
    return b;
  }
  // `size` elements, all bytes zero.
  static AlignedBuffer Zeroed(size_t size) {
    AlignedBuffer b(size);
    if (size) std::memset(b.data(), 0, size * sizeof(T));
    return b;
  }

  // Grows to at least `size` elements, in huge pages; the content is lost when it grows.
  void Reserve(size_t size) {
    if (size > size_) *this = InHugePages(size);
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
