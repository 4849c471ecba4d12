// SPDX-License-Identifier: Apache-2.0
// Quantised weights times many activation rows in 8 bits. A panel of weight rows is unpacked once per chunk
// of columns, with a row in every 32-bit lane, so that sums need no shuffles; then all activation rows go by.
//
// With byte products (u8 x s8, pairs summed to int16) a register block adds several products in int16 before
// it widens, as many as the range of the codes allows. Signed 8-bit codes have no room for that: they go to
// linear_int16_simd.cc. With VNNI, and in portable code, all codes are unsigned bytes summed to int32.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "qwen3vl/linear_simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "qwen3vl/linear_tile_simd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {
// Vectors of weight rows, for linear_panel-inl.h.
#if HWY_TARGET == HWY_SCALAR
constexpr size_t kPanelVectors = 4;
#else
constexpr size_t kPanelVectors = 2;
#endif
}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#include "qwen3vl/linear_eight-inl.h"
#include "qwen3vl/linear_panel-inl.h"
#include "qwen3vl/linear_quantize-inl.h"
#include "qwen3vl/linear_unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qwen3vl::HWY_NAMESPACE {

// Activation rows of a group; with two vectors of weight rows this fills the registers.
#if HWY_TARGET <= HWY_AVX3
constexpr size_t kCols = 6;
#else
constexpr size_t kCols = 4;
#endif

using DI = hn::ScalableTag<int32_t>;
using DF = hn::ScalableTag<float>;
using VI = hn::Vec<DI>;
using VF = hn::Vec<DF>;

// Keeps the compiler from turning a running sum into a tree of sums, which would spill all of its leaves.
HWY_INLINE void KeepInRegister([[maybe_unused]] VI& v) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && (HWY_COMPILER_GCC || HWY_COMPILER_CLANG)
  asm("" : "+v"(v.raw));
#endif
}

#if QWEN3VL_PAIR_PRODUCTS
#if HWY_TARGET <= HWY_AVX3
HWY_INLINE VI PairsOfBytes(VI u, VI s) { return VI{_mm512_maddubs_epi16(u.raw, s.raw)}; }
HWY_INLINE VI AddPairs(VI a, VI b) { return VI{_mm512_add_epi16(a.raw, b.raw)}; }
HWY_INLINE VI WidenPairs(VI a) { return VI{_mm512_madd_epi16(a.raw, _mm512_set1_epi16(1))}; }
#elif HWY_TARGET <= HWY_AVX2
HWY_INLINE VI PairsOfBytes(VI u, VI s) { return VI{_mm256_maddubs_epi16(u.raw, s.raw)}; }
HWY_INLINE VI AddPairs(VI a, VI b) { return VI{_mm256_add_epi16(a.raw, b.raw)}; }
HWY_INLINE VI WidenPairs(VI a) { return VI{_mm256_madd_epi16(a.raw, _mm256_set1_epi16(1))}; }
#else
HWY_INLINE VI PairsOfBytes(VI u, VI s) { return VI{_mm_maddubs_epi16(u.raw, s.raw)}; }
HWY_INLINE VI AddPairs(VI a, VI b) { return VI{_mm_add_epi16(a.raw, b.raw)}; }
HWY_INLINE VI WidenPairs(VI a) { return VI{_mm_madd_epi16(a.raw, _mm_set1_epi16(1))}; }
#endif
#else
// acc + products of four unsigned with four signed bytes a lane.
HWY_INLINE VI AddDotBytes(VI acc, VI u, VI s) {
#if HWY_TARGET <= HWY_AVX3_DL
  // Highway 1.0 enables AVX-VNNI here but not AVX512-VNNI, so the intrinsic does not compile.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.raw) : "v"(u.raw), "v"(s.raw));
  return acc;
#else
  HWY_ALIGN uint8_t a[4 * kLanes];
  HWY_ALIGN int8_t b[4 * kLanes];
  const DI d;
  hn::Store(u, d, reinterpret_cast<int32_t*>(a));
  hn::Store(s, d, reinterpret_cast<int32_t*>(b));
  HWY_ALIGN int32_t sums[kLanes] = {};
  for (size_t i = 0; i < 4 * kLanes; ++i) sums[i / 4] += a[i] * b[i];
  return hn::Add(acc, hn::Load(d, sums));
#endif
}
#endif

// How a panel and the activation groups for it are laid out, 32 columns at a time.
template <CodeInfo kInfo>
struct Layout {
  static constexpr size_t kSub = kInfo.sub_block, kSubs = 32 / kSub;
  // Panel: codes [8][rows][4], scale [subs][rows], min [subs][rows].
  static constexpr size_t kPanelCodes = 32 * kPanelRows;
  static constexpr size_t kPanelBlock = kPanelCodes + 2 * kSubs * kPanelRows * sizeof(float);
  // Group: codes [8][cols][4], scale [cols], sum of 32 [cols], sums of 16 [2][cols].
  static constexpr size_t kGroupCodes = 32 * kCols;
  static constexpr size_t kGroupBlock = kGroupCodes + 4 * kCols * sizeof(float);
  // Blocks of a chunk: the panel stays in the first-level cache.
  static constexpr size_t kChunk = (24 * 1024 / kPanelBlock) / 8 * 8 ? (24 * 1024 / kPanelBlock) / 8 * 8 : 8;
};

HWY_INLINE VI LoadWord(const std::byte* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof word);
  return hn::Set(DI(), word);
}

// Integer sums of one sub-block: sum[r][c] over kSub columns of vector r of the panel with activation row c.
template <CodeInfo kInfo>
HWY_INLINE void SubBlockSums(const std::byte* panel, const std::byte* group,
                             VI (&sum)[kPanelVectors][kCols]) {
  using L = Layout<kInfo>;
  const DI d;
  constexpr size_t kVectorBytes = 4 * kLanes;
  constexpr size_t kSteps = L::kSub / 4;
  const auto weights = [&](size_t step, size_t r) HWY_ATTR {
    const std::byte* p = panel + (step * kPanelVectors + r) * kVectorBytes;
    return hn::Load(d, reinterpret_cast<const int32_t*>(p));
  };
  const auto activation = [&](size_t step, size_t c)
                              HWY_ATTR { return LoadWord(group + (step * kCols + c) * 4); };
#if QWEN3VL_PAIR_PRODUCTS
  constexpr size_t kRoom = PairSumsInWord(kInfo.range);
  constexpr size_t kRun = kRoom < kSteps ? kRoom : kSteps;
#pragma GCC unroll 4
  for (size_t run = 0; run < kSteps; run += kRun) {
    VI pairs[kPanelVectors][kCols];
#pragma GCC unroll 8
    for (size_t i = 0; i < kRun; ++i) {
      VI w[kPanelVectors];
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r) w[r] = weights(run + i, r);
#pragma GCC unroll 8
      for (size_t c = 0; c < kCols; ++c) {
        const VI a = activation(run + i, c);
#pragma GCC unroll 4
        for (size_t r = 0; r < kPanelVectors; ++r) {
          const VI p = PairsOfBytes(w[r], a);
          pairs[r][c] = i == 0 ? p : AddPairs(pairs[r][c], p);
          KeepInRegister(pairs[r][c]);
        }
      }
    }
#pragma GCC unroll 8
    for (size_t c = 0; c < kCols; ++c)
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r) {
        const VI wide = WidenPairs(pairs[r][c]);
        sum[r][c] = run == 0 ? wide : hn::Add(sum[r][c], wide);
      }
  }
#else
#pragma GCC unroll 16
  for (size_t i = 0; i < kSteps; ++i) {
    VI w[kPanelVectors];
#pragma GCC unroll 4
    for (size_t r = 0; r < kPanelVectors; ++r) w[r] = weights(i, r);
#pragma GCC unroll 8
    for (size_t c = 0; c < kCols; ++c) {
      const VI a = activation(i, c);
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r)
        sum[r][c] = AddDotBytes(i == 0 ? hn::Zero(d) : sum[r][c], w[r], a);
    }
  }
#endif
}

// panel * group over n_blocks blocks of 32 columns goes to the target. The next group, `group_bytes` after
// this one, is fetched on the way.
template <CodeInfo kInfo>
HWY_NOINLINE void TileKernel(const std::byte* panel, const std::byte* group, size_t group_bytes,
                             size_t n_blocks, const TileTarget& to) {
  using L = Layout<kInfo>;
  const DF d;
  PrefetchTile<kCols>(to);
  VF acc[kPanelVectors][kCols];
#pragma GCC unroll 8
  for (size_t c = 0; c < kCols; ++c)
#pragma GCC unroll 4
    for (size_t r = 0; r < kPanelVectors; ++r) acc[r][c] = hn::Zero(d);
  for (size_t b = 0; b < n_blocks; ++b, panel += L::kPanelBlock, group += L::kGroupBlock) {
    for (size_t i = 0; i < L::kGroupBlock; i += 64) hw::PrefetchFar(group + group_bytes + i);
    const auto* scales = reinterpret_cast<const float*>(panel + L::kPanelCodes);
    const auto* group_floats = reinterpret_cast<const float*>(group + L::kGroupCodes);
#pragma GCC unroll 2
    for (size_t s = 0; s < L::kSubs; ++s) {
      VI sum[kPanelVectors][kCols];
      SubBlockSums<kInfo>(panel + s * (L::kPanelCodes / L::kSubs), group + s * (L::kGroupCodes / L::kSubs),
                          sum);
      const float* a_sum = group_floats + (L::kSub == 32 ? kCols : (2 + s) * kCols);
#pragma GCC unroll 4
      for (size_t r = 0; r < kPanelVectors; ++r) {
        const VF scale = hn::Load(d, scales + (s * kPanelVectors + r) * kLanes);
#pragma GCC unroll 8
        for (size_t c = 0; c < kCols; ++c)
          acc[r][c] =
              hn::MulAdd(hn::ConvertTo(d, sum[r][c]), hn::Mul(scale, hn::Set(d, group_floats[c])), acc[r][c]);
        const VF min = hn::Load(d, scales + ((L::kSubs + s) * kPanelVectors + r) * kLanes);
#pragma GCC unroll 8
        for (size_t c = 0; c < kCols; ++c) acc[r][c] = hn::NegMulAdd(min, hn::Set(d, a_sum[c]), acc[r][c]);
      }
    }
  }
  FinishTile<kCols>(acc, to);
}

// Signed codes as unsigned ones with a minimum.
HWY_INLINE void MakeUnsigned(Codes& c) {
  for (size_t i = 0; i < 256; ++i) c.q[i] ^= 0x80;
  for (size_t s = 0; s < 8; ++s) c.min[s] = 128 * c.scale[s];
}

// Four rows of up to 256 unpacked weights into lanes row .. row + 3 of `n_blocks` panel blocks.
template <CodeInfo kInfo>
HWY_INLINE void PlaceRows(const Codes (&codes)[4], size_t row, size_t n_blocks, std::byte* panel) {
  using L = Layout<kInfo>;
  constexpr size_t kStepBytes = 4 * kPanelRows;
  for (size_t k = 0; k < 32 * n_blocks; k += 16)
    TransposeWords(codes[0].q + k, codes[1].q + k, codes[2].q + k, codes[3].q + k, [&](size_t j) HWY_ATTR {
      return panel + k / 32 * L::kPanelBlock + (k % 32 / 4 + j) * kStepBytes + 4 * row;
    });
  const auto place = [&](const auto& field, size_t first_sub) HWY_ATTR {
    for (size_t s = 0; s < n_blocks * L::kSubs; ++s)
      for (size_t i = 0; i < 4; ++i) {
        auto* floats = reinterpret_cast<float*>(panel + s / L::kSubs * L::kPanelBlock + L::kPanelCodes);
        floats[(first_sub + s % L::kSubs) * kPanelRows + row + i] = field(codes[i])[s];
      }
  };
  place([](const Codes& c) HWY_ATTR { return c.scale; }, 0);
  place([](const Codes& c) HWY_ATTR { return c.min; }, L::kSubs);
}

// Blocks [block, block + n_blocks) of 32 columns of the task's rows; missing rows are zeros. `block` is a
// multiple of 8.
template <Format kFormat>
HWY_NOINLINE void PackPanel(const ProductTask& task, size_t block, size_t n_blocks, std::byte* panel) {
  constexpr CodeInfo kInfo = CodesOf(kFormat);
  using L = Layout<kInfo>;
  constexpr size_t kStep = 256 / hw::Info(kFormat).block_elements * hw::Info(kFormat).block_bytes;
  const size_t rows = task.row_end - task.row_begin;
  Codes codes[4];
  for (size_t row = 0; row < kPanelRows; row += 4) {
    PrefetchNextRows(task, row, 32 * block, 32 * n_blocks);
    if (rows < row + 4) std::memset(codes, 0, sizeof codes);
    for (size_t b = 0; b < n_blocks; b += 8) {
      const size_t count = n_blocks - b < 8 ? n_blocks - b : 8;
      for (size_t i = 0; i < 4 && row + i < rows; ++i) {
        const auto* src = reinterpret_cast<const uint8_t*>(task.w->row(task.row_begin + row + i));
        Unpack<kFormat>(src + (block + b) / 8 * kStep, count, codes[i]);
        if constexpr (kInfo.range == CodeRange::kSigned8) MakeUnsigned(codes[i]);
      }
      PlaceRows<kInfo>(codes, row, count, panel + b * L::kPanelBlock);
    }
  }
}

#if HWY_TARGET <= HWY_AVX2
// The same from interleaved rows, which lie as the panel wants them.
template <Format kFormat>
HWY_NOINLINE void PackInterleavedPanel(const ProductTask& task, size_t block, size_t n_blocks,
                                       std::byte* panel) {
  using L = Layout<CodesOf(kFormat)>;
  static_assert(kPanelRows % kInterleavedRows == 0);
  constexpr InterleavedStep kStepOfEight(kFormat);
  const size_t rows = task.row_end - task.row_begin;
  if (rows < kPanelRows) std::memset(panel, 0, n_blocks * L::kPanelBlock);
  for (size_t row = 0; row < rows; row += kInterleavedRows) {
    const auto* group =
        reinterpret_cast<const uint8_t*>(task.w->interleaved + (task.row_begin + row) * task.w->row_bytes());
    for (size_t b = 0; b < n_blocks; b += 8) {
      const uint8_t* scales = group + (block + b) / 8 * kStepOfEight.bytes();
      const EightBlock<kFormat> eight(scales + kStepOfEight.scale_bytes, scales);
      std::byte* to = panel + b * L::kPanelBlock;
      const auto place = [&]<size_t kPlace>() HWY_ATTR {
        constexpr size_t kIndex = InStoredOrder<EightBlock<kFormat>>(kPlace);
        constexpr size_t kSub = 4 * kIndex / L::kSub, kInBlock = kSub % L::kSubs;
        std::byte* of_block = to + kIndex / 8 * L::kPanelBlock;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(of_block + kIndex % 8 * 4 * kPanelRows + 4 * row),
                            eight.template Codes<kIndex>());
        if constexpr (4 * kIndex % L::kSub == 0) {
          auto* floats = reinterpret_cast<float*>(of_block + L::kPanelCodes) + row;
          _mm256_storeu_ps(floats + kInBlock * kPanelRows,
                           _mm256_mul_ps(eight.d, eight.template Scale<kSub>()));
          _mm256_storeu_ps(floats + (L::kSubs + kInBlock) * kPanelRows,
                           _mm256_mul_ps(eight.dmin, eight.template Min<kSub>()));
        }
      };
      Unrolled(place, std::make_index_sequence<kCodesOfEight>());
    }
  }
}
#endif

// Blocks of the task's rows from whichever form there is.
template <Format kFormat>
HWY_INLINE void PackPanelOf(const ProductTask& task, size_t block, size_t n_blocks, std::byte* panel) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (HasInterleaved(kFormat)) {
    if (task.w->interleaved) return PackInterleavedPanel<kFormat>(task, block, n_blocks, panel);
  }
#endif
  PackPanel<kFormat>(task, block, n_blocks, panel);
}

template <Format kFormat>
void TileRowsOf(const TileInfo& info, const ProductTask& task) {
  constexpr CodeInfo kInfo = CodesOf(kFormat);
  using L = Layout<kInfo>;
  const size_t n_blocks = task.w->cols / 32;
  const auto panel_at = [&](size_t p) HWY_ATTR { return task.scratch + p * info.panel_bytes; };
  for (size_t block = 0; block < n_blocks; block += L::kChunk) {
    const size_t count = n_blocks - block < L::kChunk ? n_blocks - block : L::kChunk;
    MultiplyChunk<kCols>(
        task, block == 0,
        [&](const ProductTask& panel, size_t p)
            HWY_ATTR { PackPanelOf<kFormat>(panel, block, count, panel_at(p)); },
        [&](size_t p, size_t g, const TileTarget& to) HWY_ATTR {
          const std::byte* group = task.packed + g * info.group_bytes + block * L::kGroupBlock;
          TileKernel<kInfo>(panel_at(p), group, info.group_bytes, count, to);
        });
  }
}

void TileRowsInt8(const TileInfo& info, const ProductTask& task) {
  ForBlockFormat(task.w->format, [&]<Format kFormat>() HWY_ATTR {
    if constexpr (!IsMultipliedInWords(kFormat)) TileRowsOf<kFormat>(info, task);
  });
}

void PackGroupInt8(const TileInfo& info, hw::MatrixView<const float> x, std::byte* group) {
  // One form of activations for all codes: the layout of a group does not depend on them.
  using L = Layout<CodeInfo{CodeRange::kUnsigned4, 32}>;
  if (x.rows < kCols) std::memset(group, 0, info.group_bytes);
  QuantizedBlock block;
  for (size_t c = 0; c < x.rows; ++c) {
    std::byte* out = group;
    for (size_t k = 0; k < x.cols; k += 32, out += L::kGroupBlock) {
      QuantizeBlock(x.row(c) + k, block);
      auto* floats = reinterpret_cast<float*>(out + L::kGroupCodes);
      for (size_t j = 0; j < 8; ++j) std::memcpy(out + (j * kCols + c) * 4, block.q + 4 * j, 4);
      floats[c] = block.scale;
      floats[kCols + c] = block.sum[0] + block.sum[1];
      floats[2 * kCols + c] = block.sum[0];
      floats[3 * kCols + c] = block.sum[1];
    }
  }
}

template <CodeInfo kInfo>
TileInfo TileInfoOf(size_t cols) {
  using L = Layout<kInfo>;
  return {Packing::kInt8, kPanelRows, kCols, cols / 32 * L::kGroupBlock, L::kChunk * L::kPanelBlock};
}

TileInfo TileInfoQuantized(hw::Format format, size_t cols) {
  const CodeInfo info = CodesOf(format);
  if (IsMultipliedInWords(format)) return qwen3vl::TileInfoInt16(cols);
  if (info.sub_block == 16) return TileInfoOf<CodeInfo{CodeRange::kUnsigned4, 16}>(cols);
  return TileInfoOf<CodeInfo{CodeRange::kUnsigned4, 32}>(cols);
}

}  // namespace qwen3vl::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qwen3vl {
HWY_EXPORT(TileInfoQuantized);
HWY_EXPORT(PackGroupInt8);
HWY_EXPORT(TileRowsInt8);

TileInfo TileInfoQuantized(hw::Format format, size_t cols) noexcept {
  return HWY_DYNAMIC_DISPATCH(TileInfoQuantized)(format, cols);
}
void PackGroupInt8(const TileInfo& info, hw::MatrixView<const float> x, std::byte* group) noexcept {
  HWY_DYNAMIC_DISPATCH(PackGroupInt8)(info, x, group);
}
void TileRowsInt8(const TileInfo& info, const ProductTask& task) noexcept {
  HWY_DYNAMIC_DISPATCH(TileRowsInt8)(info, task);
}
}  // namespace qwen3vl
#endif
