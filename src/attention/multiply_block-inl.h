// SPDX-License-Identifier: Apache-2.0
// The one matrix product of attention, for a few rows: C = A * B, or C = C * alpha + A * B. Scores are q
// times key panels, the weighted sum is weights times value strips; both B come in panels 16 floats wide, so
// that a step over the inner dimension loads whole vectors of B, broadcasts one value of each row of A and
// sums across lanes never. Accumulators stay in registers over the whole inner dimension.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#undef QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#else
#define QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <utility>

#include "hw/float16.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
inline constexpr size_t kPanelWidth = 16;
inline constexpr size_t kLanes = HWY_LANES(float);  // of FloatVec; divides kPanelWidth

// A product whose B is stored as float, F16 or BF16 (converted on load).
template <class Stored>
struct Product {
  const float* a;  // [rows, inner], a_stride floats from row to row
  size_t a_stride;
  size_t inner;
  const Stored* b;  // panels [inner, 16], b_stride elements from panel to panel
  size_t b_stride;
  float* c;  // [rows, n_vecs * kLanes], c_stride floats from row to row
  size_t c_stride;
  const float* alpha;  // [rows], or null: C is overwritten
};

HWY_INLINE FloatVec LoadFloats(const float* p) { return hn::LoadU(FloatTag(), p); }

HWY_INLINE FloatVec LoadFloats(const hw::F16* p) {
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  return hn::PromoteTo(FloatTag(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
}

HWY_INLINE FloatVec LoadFloats(const hw::BF16* p) {
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::RebindToUnsigned<FloatTag> bits;
  const auto wide = hn::PromoteTo(bits, hn::LoadU(half, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(wide));
}

// acc[r][j] += a[r][k] * b[j] for M rows and N vectors.
template <size_t N, size_t... I>
HWY_INLINE void AddProducts(FloatVec* HWY_RESTRICT acc, const float* const* HWY_RESTRICT a, size_t k,
                            const FloatVec* HWY_RESTRICT b, std::index_sequence<I...>) {
  ((acc[I] = hn::MulAdd(hn::Set(FloatTag(), a[I / N][k]), b[I % N], acc[I])), ...);
}

template <size_t N, class Stored, size_t... J>
HWY_INLINE void LoadStep(FloatVec* HWY_RESTRICT b, const Stored* const* HWY_RESTRICT from, size_t offset,
                         std::index_sequence<J...>) {
  ((b[J] = LoadFloats(from[J] + offset)), ...);
}

template <size_t... I>
HWY_INLINE void Clear(FloatVec* acc, std::index_sequence<I...>) {
  ((acc[I] = hn::Zero(FloatTag())), ...);
}

template <size_t N, size_t... I>
HWY_INLINE void Store(const FloatVec* acc, float* c, size_t c_stride, std::index_sequence<I...>) {
  ((hn::StoreU(acc[I], FloatTag(), c + I / N * c_stride + I % N * kLanes)), ...);
}

template <size_t N, size_t... I>
HWY_INLINE void ScaleAndAdd(const FloatVec* acc, float* c, size_t c_stride, const float* alpha,
                            std::index_sequence<I...>) {
  ((hn::StoreU(hn::MulAdd(hn::LoadU(FloatTag(), c + I / N * c_stride + I % N * kLanes),
                          hn::Set(FloatTag(), alpha[I / N]), acc[I]),
               FloatTag(), c + I / N * c_stride + I % N * kLanes)),
   ...);
}

// M rows from `row` on, N vectors from vector `vec` on.
template <size_t M, size_t N, class Stored>
HWY_NOINLINE void RegisterBlock(const Product<Stored>& p, size_t row, size_t vec) {
  constexpr std::make_index_sequence<M * N> kAll{};
  constexpr std::make_index_sequence<N> kColumns{};
  const float* a[M];
  for (size_t r = 0; r < M; ++r) a[r] = p.a + (row + r) * p.a_stride;
  const Stored* b_at[N];
  for (size_t j = 0; j < N; ++j) {
    const size_t column = (vec + j) * kLanes;
    b_at[j] = p.b + column / kPanelWidth * p.b_stride + column % kPanelWidth;
  }
  FloatVec acc[M * N], b[N];
  Clear(acc, kAll);
  for (size_t k = 0; k < p.inner; ++k) {
    LoadStep<N>(b, b_at, k * kPanelWidth, kColumns);
    AddProducts<N>(acc, a, k, b, kAll);
  }
  float* c = p.c + row * p.c_stride + vec * kLanes;
  if (p.alpha)
    ScaleAndAdd<N>(acc, c, p.c_stride, p.alpha + row, kAll);
  else
    Store<N>(acc, c, p.c_stride, kAll);
}

inline constexpr size_t kRegisters = kLanes == 16 ? 32 : 16;
inline constexpr size_t kMaxBlockRows = 6;
inline constexpr size_t kMaxBlockVecs = 4;

// The widest block for that many rows: rows * vecs accumulators, vecs of B and one broadcast fit the
// registers.
constexpr size_t BlockVecs(size_t rows) {
  const size_t fit = (kRegisters - 1) / (rows + 1);
  return fit < kMaxBlockVecs ? fit : kMaxBlockVecs;
}

template <class Stored>
using BlockFunction = void (*)(const Product<Stored>&, size_t row, size_t vec);

template <class Stored, size_t M, size_t N>
constexpr BlockFunction<Stored> BlockFor() {
  if constexpr (N <= BlockVecs(M))
    return &RegisterBlock<M, N, Stored>;
  else
    return nullptr;
}

template <class Stored>
inline constexpr BlockFunction<Stored> kBlocks[kMaxBlockRows][kMaxBlockVecs] = {
    {BlockFor<Stored, 1, 1>(), BlockFor<Stored, 1, 2>(), BlockFor<Stored, 1, 3>(), BlockFor<Stored, 1, 4>()},
    {BlockFor<Stored, 2, 1>(), BlockFor<Stored, 2, 2>(), BlockFor<Stored, 2, 3>(), BlockFor<Stored, 2, 4>()},
    {BlockFor<Stored, 3, 1>(), BlockFor<Stored, 3, 2>(), BlockFor<Stored, 3, 3>(), BlockFor<Stored, 3, 4>()},
    {BlockFor<Stored, 4, 1>(), BlockFor<Stored, 4, 2>(), BlockFor<Stored, 4, 3>(), BlockFor<Stored, 4, 4>()},
    {BlockFor<Stored, 5, 1>(), BlockFor<Stored, 5, 2>(), BlockFor<Stored, 5, 3>(), BlockFor<Stored, 5, 4>()},
    {BlockFor<Stored, 6, 1>(), BlockFor<Stored, 6, 2>(), BlockFor<Stored, 6, 3>(), BlockFor<Stored, 6, 4>()},
};

constexpr size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

// The whole product: columns outside, so that a piece of B serves all rows from the first cache.
template <class Stored>
void Multiply(const Product<Stored>& p, size_t rows, size_t n_vecs) {
  const size_t height = DivideUp(rows, DivideUp(rows, kMaxBlockRows));
  const size_t widest = BlockVecs(height);
  for (size_t vec = 0; vec < n_vecs;) {
    const size_t left = n_vecs - vec;
    // Even pieces, and no lone vector at the end: three vectors in lower blocks beat two and one.
    size_t width = DivideUp(left, DivideUp(left, widest));
    size_t most_rows = height;
    if (left == widest + 1 && BlockVecs(4) >= left) {
      width = left;
      most_rows = 4;
    }
    for (size_t row = 0; row < rows;) {
      const size_t rows_left = rows - row;
      const size_t m = DivideUp(rows_left, DivideUp(rows_left, most_rows));
      kBlocks<Stored>[m - 1][width - 1](p, row, vec);
      row += m;
    }
    vec += width;
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
