// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/cuda_pack.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "attention/mask.h"
#include "attention/row_codec.h"
#include "hw/float16.h"

namespace qwen3vl::attention {
namespace {

constexpr size_t kMaxHeadDim = 128;

// One row of K or V in the format it is stored in.
struct StoredRow {
  hw::Format format;
  const std::byte* bytes;
};

// Where the rows of K or V go.
struct KvArrays {
  std::byte* data;
  uint16_t* scales;
};

StoredRow ReadRow(const Inputs& in, const TensorRef& tensor, bool value, size_t batch, size_t head,
                  size_t pos, std::byte* raw) {
  if (!in.cache) return {tensor.format, RowAddress(tensor, batch, pos, head)};
  if (value)
    in.cache->GetV(head, pos, raw);
  else
    in.cache->GetK(head, pos, raw);
  return {in.cache->format, raw};
}

// Row number `to` of the arrays.
void WriteRow(const StoredRow& row, size_t head_dim, const CudaProblem& p, KvArrays arrays, size_t to) {
  switch (p.format) {
    case gpu::KvFormat::kF32: {
      float* at = reinterpret_cast<float*>(arrays.data) + to * p.head_dim;
      DecodeRow(row.format, row.bytes, head_dim, at);
      std::fill(at + head_dim, at + p.head_dim, 0.0f);
      return;
    }
    case gpu::KvFormat::kF16: {
      auto* at = reinterpret_cast<uint16_t*>(arrays.data) + to * p.head_dim;
      std::memcpy(at, row.bytes, head_dim * sizeof(uint16_t));
      std::fill(at + head_dim, at + p.head_dim, uint16_t{0});
      return;
    }
    case gpu::KvFormat::kQ8_0:
      break;
  }
  const auto* blocks = reinterpret_cast<const hw::BlockQ8_0*>(row.bytes);
  std::byte* at = arrays.data + to * p.head_dim;
  uint16_t* scales = arrays.scales + to * p.head_dim / 32;
  for (size_t b = 0; b < p.head_dim / 32; ++b) {
    hw::BlockQ8_0 block{};
    if (b < head_dim / 32) std::memcpy(&block, blocks + b, sizeof block);
    std::memcpy(at + b * 32, block.q, 32);
    scales[b] = block.d;
  }
}

// Of a row that WriteRow wrote: all of its values, or of its scales.
bool IsFinite(const CudaProblem& p, KvArrays arrays, size_t row) {
  if (p.format == gpu::KvFormat::kF32) {
    const float* values = reinterpret_cast<const float*>(arrays.data) + row * p.head_dim;
    return std::all_of(values, values + p.head_dim, [](float x) { return std::isfinite(x); });
  }
  const bool scaled = p.format == gpu::KvFormat::kQ8_0;
  const size_t n = scaled ? p.head_dim / 32 : p.head_dim;
  const uint16_t* halves =
      (scaled ? arrays.scales : reinterpret_cast<const uint16_t*>(arrays.data)) + row * n;
  return std::all_of(halves, halves + n, [](uint16_t bits) { return (bits & 0x7c00u) != 0x7c00u; });
}

void ClearRow(const CudaProblem& p, KvArrays arrays, size_t to) {
  const size_t row_bytes = p.head_dim * (p.format == gpu::KvFormat::kF32   ? sizeof(float)
                                         : p.format == gpu::KvFormat::kF16 ? sizeof(uint16_t)
                                                                           : 1);
  std::memset(arrays.data + to * row_bytes, 0, row_bytes);
  if (p.format == gpu::KvFormat::kQ8_0) std::fill_n(arrays.scales + to * p.head_dim / 32, p.head_dim / 32, 0);
}

void PackQ(const Inputs& in, const CudaProblem& p, hw::Threads threads, std::byte* upload) {
  const Shape& s = in.shape;
  auto* q = reinterpret_cast<float*>(upload + p.layout.q);
  auto* seen = reinterpret_cast<gpu::SeenRange*>(upload + p.layout.seen);
  hw::ParallelFor(threads, s.batch * s.q_len, [&](size_t index, size_t) noexcept {
    const size_t batch = index / s.q_len, token = index % s.q_len;
    const KvRange range = VisibleRange(s, in.mask, batch, token);
    seen[index] = {static_cast<unsigned>(range.begin), static_cast<unsigned>(range.end)};
    for (size_t head = 0; head < s.n_heads; ++head) {
      float* row = q + (index * s.n_heads + head) * p.head_dim;
      DecodeRow(in.q.format, RowAddress(in.q, batch, token, head), s.head_dim, row);
      std::fill(row + s.head_dim, row + p.head_dim, 0.0f);
    }
  });
}

// Whether all of V is finite.
bool PackKv(const Inputs& in, const CudaProblem& p, hw::Threads threads, std::byte* upload) {
  const Shape& s = in.shape;
  const KvArrays k{upload + p.layout.k, reinterpret_cast<uint16_t*>(upload + p.layout.k_scales)};
  const KvArrays v{upload + p.layout.v, reinterpret_cast<uint16_t*>(upload + p.layout.v_scales)};
  std::atomic<bool> finite{true};
  hw::ParallelFor(threads, s.batch * s.n_kv_heads, [&](size_t index, size_t) noexcept {
    const size_t batch = index / s.n_kv_heads, head = index % s.n_kv_heads;
    const KvRange exists = ExistingRange(s, in.mask, batch);
    alignas(hw::BlockQ8_0) std::array<std::byte, kMaxHeadDim * sizeof(float)> raw;
    bool all = true;
    for (size_t pos = 0; pos < s.kv_len; ++pos) {
      const size_t to = index * s.kv_len + pos;
      if (pos < exists.begin || pos >= exists.end) {
        ClearRow(p, k, to);
        ClearRow(p, v, to);
        continue;
      }
      WriteRow(ReadRow(in, in.k, /*value=*/false, batch, head, pos, raw.data()), s.head_dim, p, k, to);
      WriteRow(ReadRow(in, in.v, /*value=*/true, batch, head, pos, raw.data()), s.head_dim, p, v, to);
      all &= IsFinite(p, v, to);
    }
    if (!all) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load(std::memory_order_relaxed);
}

}  // namespace

bool PackInputs(const Inputs& in, const CudaProblem& problem, hw::Threads threads, std::byte* upload) {
  PackQ(in, problem, threads, upload);
  return PackKv(in, problem, threads, upload);
}

// Without the gap between the two: reading what was never written is a mistake to memory checkers.
void DownloadOutputs(const hw::CudaBuffer& memory, const CudaLayout& layout, std::byte* download) {
  memory.Download(download, layout.out, layout.out_bytes);
  memory.Download(download + (layout.stats - layout.out), layout.stats, layout.stats_bytes);
}

void UnpackOutputs(const Inputs& in, const CudaProblem& p, const std::byte* download, hw::Threads threads,
                   const Outputs& out) {
  const Shape& s = in.shape;
  constexpr double kLn2 = 0.69314718055994531;
  const auto* rows = reinterpret_cast<const float*>(download);
  const auto* stats = reinterpret_cast<const float*>(download + (p.layout.stats - p.layout.out));
  const size_t stride = out.out_row_stride ? out.out_row_stride : s.n_heads * s.head_dim;
  hw::ParallelFor(threads, s.batch * s.q_len, [&](size_t index, size_t) noexcept {
    for (size_t head = 0; head < s.n_heads; ++head) {
      const size_t row = index * s.n_heads + head;
      const size_t to = hw::RowBytes(out.out_format, index * stride + head * s.head_dim);
      EncodeRow(out.out_format, rows + row * p.head_dim, s.head_dim, static_cast<std::byte*>(out.out) + to);
      if (!out.lse) continue;
      const double largest = stats[row * 2], sum = stats[row * 2 + 1];
      const size_t batch = index / s.q_len, token = index % s.q_len;
      out.lse[(batch * s.n_heads + head) * s.q_len + token] =
          sum == 0 ? -std::numeric_limits<float>::infinity()
                   : static_cast<float>(kLn2 * (largest + std::log2(sum)));
    }
  });
}

}  // namespace qwen3vl::attention
