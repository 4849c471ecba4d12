// SPDX-License-Identifier: Apache-2.0
// A strided 2-D view without ownership: what kernels take instead of a vector of vectors.
#pragma once

#include <cassert>
#include <cstddef>
#include <type_traits>

namespace qwen3vl::hw {

// rows x cols elements; row r starts at data + r * row_stride (in elements, row_stride >= cols).
template <class T>
struct MatrixView {
  T* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t row_stride = 0;

  MatrixView() = default;
  MatrixView(T* d, size_t r, size_t c, size_t stride) : data(d), rows(r), cols(c), row_stride(stride) {}
  MatrixView(T* d, size_t r, size_t c) : MatrixView(d, r, c, c) {}
  // A mutable view serves where a const one is wanted.
  operator MatrixView<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, cols, row_stride};
  }
  T* row(size_t r) const {
    assert(r < rows);
    return data + r * row_stride;
  }
  // Rows begin .. begin + count.
  MatrixView Rows(size_t begin, size_t count) const {
    assert(begin + count <= rows);
    return {data + begin * row_stride, count, cols, row_stride};
  }
  // Columns begin .. begin + count.
  MatrixView Cols(size_t begin, size_t count) const {
    assert(begin + count <= cols);
    return {data + begin, rows, count, row_stride};
  }
};

}  // namespace qwen3vl::hw
