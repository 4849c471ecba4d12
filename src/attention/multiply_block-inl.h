// SPDX-License-Identifier: Apache-2.0
// The one matrix product of attention, for a few rows: C = A * B, or C = C * alpha + A * B. Scores are q
// times key panels, the weighted sum is weights times value strips; both B come in panels 16 floats wide, so
// that a step over the inner dimension loads whole vectors of B, broadcasts one value of each row of A and
// sums across lanes never. A and C are cut the same way, [panel][row][16]: what one product writes the next
// one reads, and every address of a step is one pointer and a constant. Accumulators stay in registers over
// the whole inner dimension.

// Per-target include guard.
#if defined(QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#undef QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#else
#define QWEN3VL_ATTENTION_MULTIPLY_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "attention/read_ahead.h"
#include "hw/float16.h"
#include "hw/prefetch.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::attention::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
inline constexpr size_t kPanelWidth = 16;
inline constexpr size_t kLanes = HWY_LANES(float);  // of FloatVec; divides kPanelWidth
inline constexpr size_t kPanelVecs = kPanelWidth / kLanes;

inline constexpr size_t kRegisters = kLanes == 16 ? 32 : 16;
inline constexpr size_t kMaxFewRows = 6;  // rows of a block whose B may be of any format
inline constexpr size_t kTallRows = 12;   // rows of a block of many, for several register blocks

constexpr size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

// A product whose B is stored as float, F16 or BF16 (converted on load).
template <class Stored>
struct Product {
  const float* a;        // [inner / 16][rows][16]
  size_t begin, end;     // of the inner dimension; others are not touched
  const Stored* b;       // panels [inner][16]
  size_t b_stride;       // elements from panel to panel
  float* c;              // [panels][rows][16]
  const float* alpha;    // [rows], or null: C is overwritten
  ReadAhead ahead = {};  // few rows only
};

HWY_INLINE FloatVec LoadFloats(const float* p) { return hn::LoadU(FloatTag(), p); }

HWY_INLINE FloatVec LoadFloats(const hw::F16* p) {
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
  // Without an instruction for it, Highway's conversion does not know infinity and NaN. As hw::ToFloat.
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::RebindToUnsigned<FloatTag> bits;
  const auto all = hn::PromoteTo(bits, hn::LoadU(half, reinterpret_cast<const uint16_t*>(p)));
  const auto magnitude = hn::And(all, hn::Set(bits, 0x7fffu));
  const auto scaled =
      hn::Mul(hn::BitCast(FloatTag(), hn::ShiftLeft<13>(magnitude)), hn::Set(FloatTag(), 0x1p112f));
  const auto is_special = hn::RebindMask(bits, hn::Gt(hn::BitCast(hn::RebindToSigned<FloatTag>(), magnitude),
                                                      hn::Set(hn::RebindToSigned<FloatTag>(), 0x7bff)));
  const auto special = hn::IfThenElseZero(is_special, hn::Set(bits, 0x7f800000u));
  const auto sign = hn::ShiftLeft<16>(hn::AndNot(hn::Set(bits, 0x7fffu), all));
  return hn::BitCast(FloatTag(), hn::Or(hn::Or(sign, special), hn::BitCast(bits, scaled)));
#else
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  return hn::PromoteTo(FloatTag(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
#endif
}

HWY_INLINE FloatVec LoadFloats(const hw::BF16* p) {
  const hn::Rebind<uint16_t, FloatTag> half;
  const hn::RebindToUnsigned<FloatTag> bits;
  const auto wide = hn::PromoteTo(bits, hn::LoadU(half, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(wide));
}

// acc[r][j] += a[r] * b[j] for all rows and N vectors.
template <size_t N, size_t... I>
HWY_INLINE void AddProducts(FloatVec* HWY_RESTRICT acc, const float* HWY_RESTRICT a,
                            const FloatVec* HWY_RESTRICT b, std::index_sequence<I...>) {
  ((acc[I] = hn::MulAdd(hn::Set(FloatTag(), a[I / N * kPanelWidth]), b[I % N], acc[I])), ...);
}

// How the accumulators of M rows and N vectors lie in B and C: kHeight rows of a block are one after the
// other in C; kSkip vectors before the first one belong to its panel too, as far as N vectors reach the next
// panel.
template <size_t kHeight, size_t M, size_t N, size_t kSkip>
struct BlockShape {
  static constexpr size_t kRows = M, kVecs = N, kBlockRows = kHeight;
  static constexpr size_t kPanels = DivideUp(kSkip + N, kPanelVecs);
  static constexpr size_t PanelOf(size_t j) { return (kSkip + j) / kPanelVecs; }
  static constexpr size_t ColumnOf(size_t j) { return (kSkip + j) % kPanelVecs * kLanes; }
  // Offset in C of accumulator i.
  static constexpr size_t OffsetOf(size_t i) {
    return (PanelOf(i % N) * kHeight + i / N) * kPanelWidth + ColumnOf(i % N);
  }
  // The first column, in its panel, of vectors from `vec` on, less those that are skipped.
  static constexpr size_t FirstColumn(size_t vec) { return (vec % kPanelVecs - kSkip) * kLanes; }
};

// Where the vectors of B begin, panel by panel.
template <class Shape, class Stored>
struct Columns {
  static constexpr size_t kPanels = Shape::kPanels;

  HWY_INLINE Columns(const Product<Stored>& p, size_t vec) {
    const Stored* first = p.b + vec / kPanelVecs * p.b_stride + Shape::FirstColumn(vec);
    for (size_t j = 0; j < kPanels; ++j) {
      at[j] = first + j * p.b_stride;
      if constexpr (Shape::kBlockRows < kTallRows) {
        const auto* bytes = reinterpret_cast<const std::byte*>(at[j] + p.begin * kPanelWidth);
        ahead[j] = p.ahead.Address(bytes, vec / kPanelVecs + j, p.b_stride * sizeof(Stored));
      }
    }
  }
  HWY_INLINE const Stored* Vector(size_t j, size_t k) const {
    return at[Shape::PanelOf(j)] + k * kPanelWidth + Shape::ColumnOf(j);
  }
  // For 16 steps.
  HWY_INLINE void PrefetchAhead() {
    constexpr size_t kBytes = kPanelWidth * kPanelWidth * sizeof(Stored);
    for (const std::byte*& from : ahead) {
      for (size_t line = 0; line < kBytes; line += 64) hw::PrefetchFar(from + line);
      from += kBytes;
    }
  }
  HWY_INLINE void Advance(size_t k) {
    for (size_t j = 0; j < kPanels; ++j) at[j] += k * kPanelWidth;
  }

  const Stored* at[kPanels];
  const std::byte* ahead[kPanels];
};

// Step k of the inner dimension.
template <class Shape, class Stored, size_t... J>
HWY_INLINE void Step(FloatVec* HWY_RESTRICT acc, const float* HWY_RESTRICT a,
                     const Columns<Shape, Stored>& columns, std::index_sequence<J...>) {
  const FloatVec b[Shape::kVecs] = {LoadFloats(columns.Vector(J, 0))...};
  AddProducts<Shape::kVecs>(acc, a, b, std::make_index_sequence<Shape::kRows * Shape::kVecs>{});
}

template <size_t... I>
HWY_INLINE void Clear(FloatVec* acc, std::index_sequence<I...>) {
  ((acc[I] = hn::Zero(FloatTag())), ...);
}

template <class Shape, size_t... I>
HWY_INLINE void Store(const FloatVec* acc, float* c, std::index_sequence<I...>) {
  ((hn::StoreU(acc[I], FloatTag(), c + Shape::OffsetOf(I))), ...);
}

template <class Shape, size_t... I>
HWY_INLINE void ScaleAndAdd(const FloatVec* acc, float* c, const float* alpha, std::index_sequence<I...>) {
  ((hn::StoreU(
       hn::MulAdd(LoadFloats(c + Shape::OffsetOf(I)), hn::Set(FloatTag(), alpha[I / Shape::kVecs]), acc[I]),
       FloatTag(), c + Shape::OffsetOf(I))),
   ...);
}

// Rows `row` to row + M - 1 of a block with N vectors of B from vector `vec` on.
template <class Shape, class Stored>
HWY_NOINLINE void RegisterBlock(const Product<Stored>& p, size_t row, size_t vec) {
  constexpr std::make_index_sequence<Shape::kRows * Shape::kVecs> kAll{};
  constexpr std::make_index_sequence<Shape::kVecs> kColumns{};
  constexpr size_t kChunk = Shape::kBlockRows * kPanelWidth;  // of A, from 16 inner rows to the next
  Columns<Shape, Stored> columns(p, vec);
  FloatVec acc[Shape::kRows * Shape::kVecs];
  Clear(acc, kAll);
  const float* piece = p.a + p.begin / kPanelWidth * kChunk + row * kPanelWidth;
  columns.Advance(p.begin);
  for (size_t at = p.begin; at < p.end; piece += kChunk) {
    const size_t skip = at % kPanelWidth;
    const size_t n = HWY_MIN(kPanelWidth - skip, p.end - at);
    const float* a = piece + skip;
    at += n;
    if constexpr (Shape::kBlockRows < kTallRows) columns.PrefetchAhead();
#pragma GCC unroll 4
    for (size_t k = 0; k < n; ++k, ++a, columns.Advance(1)) Step(acc, a, columns, kColumns);
  }
  float* c = p.c + vec / kPanelVecs * kChunk + row * kPanelWidth + Shape::FirstColumn(vec);
  if (p.alpha)
    ScaleAndAdd<Shape>(acc, c, p.alpha + row, kAll);
  else
    Store<Shape>(acc, c, kAll);
}

// rows * vecs accumulators, vecs of B and one broadcast fit the registers.
constexpr bool FitsRegisters(size_t rows, size_t vecs) { return rows * vecs + vecs + 1 <= kRegisters; }

// Vectors `vec` to `end` of the product of M rows, widest register blocks first. vec is the first of a panel.
template <size_t M, class Stored>
void MultiplyFew(const Product<Stored>& p, size_t vec, size_t end) {
  if constexpr (FitsRegisters(M, 4))
    for (; vec + 4 <= end; vec += 4) RegisterBlock<BlockShape<M, M, 4, 0>>(p, 0, vec);
  if constexpr (FitsRegisters(M, 2))
    for (; vec + 2 <= end; vec += 2) RegisterBlock<BlockShape<M, M, 2, 0>>(p, 0, vec);
  for (; vec < end; ++vec) RegisterBlock<BlockShape<M, M, 1, 0>>(p, 0, vec);
}

// Vectors of B that a register block of a tall block takes at once, of `left`: so many that a step loads
// least for its multiply-adds (4 + 3 values for 12, 6 + 4 for 24), and no single one in the end.
constexpr size_t TallVecs(size_t left) {
  if (kRegisters == 32) return left >= 4 ? 4 : left >= 2 ? 2 : 1;
  if (kPanelVecs == 2 && left >= 3 && left != 4) return 3;
  return left >= 2 ? 2 : 1;
}

// The most rows that go with so many vectors.
constexpr size_t TallRowsWith(size_t vecs) {
  for (size_t rows : {12, 6, 4})
    if (FitsRegisters(rows, vecs)) return rows;
  return 2;
}

template <size_t N, class Stored>
void MultiplyTallVecs(const Product<Stored>& p, size_t vec) {
  constexpr size_t kRows = TallRowsWith(N);
  for (size_t row = 0; row < kTallRows; row += kRows) {
    if constexpr (kPanelVecs == 2 && N > 1)
      if (vec % 2) {
        RegisterBlock<BlockShape<kTallRows, kRows, N, 1>>(p, row, vec);
        continue;
      }
    RegisterBlock<BlockShape<kTallRows, kRows, N, 0>>(p, row, vec);
  }
}

// Vectors `vec` to `end` of the product of kTallRows rows.
template <class Stored>
void MultiplyTall(const Product<Stored>& p, size_t vec, size_t end) {
  while (vec < end) {
    const size_t n = TallVecs(end - vec);
    if constexpr (kRegisters == 32)
      if (n == 4) MultiplyTallVecs<4>(p, vec);
    if constexpr (kPanelVecs == 2)
      if (n == 3) MultiplyTallVecs<3>(p, vec);
    if (n == 2) MultiplyTallVecs<2>(p, vec);
    if (n == 1) MultiplyTallVecs<1>(p, vec);
    vec += n;
  }
}

// Vectors `vec` to `end` of the product. rows is 1 .. kMaxFewRows, and vec the first of a panel, or rows is
// kTallRows and B is float.
template <class Stored>
void Multiply(const Product<Stored>& p, size_t rows, size_t vec, size_t end) {
  if constexpr (std::is_same_v<Stored, float>)
    if (rows == kTallRows) return MultiplyTall(p, vec, end);
  switch (rows) {
    case 1:
      return MultiplyFew<1>(p, vec, end);
    case 2:
      return MultiplyFew<2>(p, vec, end);
    case 3:
      return MultiplyFew<3>(p, vec, end);
    case 4:
      return MultiplyFew<4>(p, vec, end);
    case 5:
      return MultiplyFew<5>(p, vec, end);
    default:
      return MultiplyFew<6>(p, vec, end);
  }
}

}  // namespace qwen3vl::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
