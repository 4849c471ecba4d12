// SPDX-License-Identifier: Apache-2.0
#include "attention/cuda/cuda_problem.h"

#include <algorithm>
#include <cstdint>

#include "hw/checked.h"

namespace qwen3vl::attention {
namespace {

constexpr unsigned kHeadDims[] = {64, 72, 80, 128};
constexpr size_t kMinSplitRows = 128;
constexpr size_t kMaxGridYZ = 65535;
constexpr size_t kMaxLength = size_t{1} << 30;  // rows are counted in 32 bits

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

// Few head_dims are worth a kernel each; between them rows are padded with zeros.
unsigned KernelHeadDim(size_t head_dim, gpu::KvFormat format) {
  if (format == gpu::KvFormat::kQ8_0) return head_dim <= 64 ? 64 : 128;
  return *std::ranges::lower_bound(kHeadDims, head_dim);
}

gpu::KvFormat DeviceFormat(const Inputs& in) {
  const hw::Format k = in.cache ? in.cache->format : in.k.format, v = in.cache ? k : in.v.format;
  if (k == v && k == hw::Format::kF16) return gpu::KvFormat::kF16;
  if (k == v && k == hw::Format::kQ8_0) return gpu::KvFormat::kQ8_0;
  return gpu::KvFormat::kF32;
}

// Places arrays one after the other.
class Places {
 public:
  size_t Take(size_t bytes) {
    const size_t at = end_;
    end_ = hw::CheckedAdd(at, hw::CheckedAdd(bytes, 255, "device memory") / 256 * 256, "device memory");
    return at;
  }
  size_t end() const { return end_; }

 private:
  size_t end_ = 0;
};

CudaLayout MakeLayout(const Shape& s, const CudaProblem& p) {
  const auto bytes = [](std::initializer_list<size_t> factors) {
    return hw::CheckedProduct(factors, "device memory");
  };
  const size_t q_rows = bytes({s.batch, s.q_len, s.n_heads});
  const size_t kv = bytes({s.batch, s.n_kv_heads, s.kv_len, p.head_dim});
  const size_t scales = p.format == gpu::KvFormat::kQ8_0 ? bytes({kv / 32, sizeof(uint16_t)}) : 0;
  CudaLayout at;
  Places places;
  at.q = places.Take(bytes({q_rows, p.head_dim, sizeof(float)}));
  at.k = places.Take(bytes({kv, ElementBytes(p.format)}));
  at.v = places.Take(bytes({kv, ElementBytes(p.format)}));
  at.k_scales = places.Take(scales);
  at.v_scales = places.Take(scales);
  at.seen = places.Take(bytes({s.batch, s.q_len, sizeof(gpu::SeenRange)}));
  at.upload_bytes = places.end();
  at.out_bytes = bytes({q_rows, p.head_dim, sizeof(float)});
  at.stats_bytes = bytes({q_rows, 2, sizeof(float)});
  at.out = places.Take(at.out_bytes);
  at.stats = places.Take(at.stats_bytes);
  at.download_bytes = places.end() - at.out;
  if (p.decode) {
    at.partial = places.Take(bytes({q_rows, p.splits, p.head_dim, sizeof(float)}));
    at.partial_stats = places.Take(bytes({q_rows, p.splits, 2, sizeof(float)}));
  }
  at.bytes = places.end();
  return at;
}

}  // namespace

size_t ElementBytes(gpu::KvFormat format) {
  return format == gpu::KvFormat::kF32 ? 4 : format == gpu::KvFormat::kF16 ? 2 : 1;
}

std::string WhyNotOnCuda(const Inputs& in, const Outputs& out) {
  const Shape& s = in.shape;
  if (out.weights) return "cuda: attention weights are asked for, which only standard keeps";
  if (s.head_dim > kHeadDims[std::size(kHeadDims) - 1])
    return "cuda: head_dim " + std::to_string(s.head_dim) + " is over 128";
  if (in.softcap > 0) return "cuda: there is no softcap";
  if (in.mask.bias) return "cuda: there is no additive bias";
  if (in.mask.allowed) return "cuda: there is no boolean mask";
  if (s.batch > kMaxGridYZ || s.n_kv_heads > kMaxGridYZ)
    return "cuda: a batch of " + std::to_string(s.batch) + " with " + std::to_string(s.n_kv_heads) +
           " kv heads is over 65535";
  const size_t rows = hw::CheckedMul(s.q_len, s.n_heads, "attention rows");
  if (rows > kMaxLength || s.kv_len > kMaxLength)
    return "cuda: " + std::to_string(std::max(rows, s.kv_len)) + " rows are over 2^30";
  return {};
}

unsigned ChooseSplits(size_t blocks, size_t kv_len, size_t multiprocessors) {
  const size_t wave = std::max<size_t>(1, multiprocessors) * gpu::kDecodeBlocks;
  const size_t most = std::max<size_t>(1, kv_len / kMinSplitRows);
  size_t best = std::clamp<size_t>(wave / std::max<size_t>(1, blocks), 1, most);
  const auto fill = [&](size_t n) {  // share of its waves that the launch uses
    return static_cast<double>(blocks * n) / static_cast<double>(CeilDiv(blocks * n, wave) * wave);
  };
  for (size_t n = best + 1; n <= most && n * blocks <= 4 * wave && fill(best) < 0.9; ++n)
    if (fill(n) > fill(best)) best = n;
  return static_cast<unsigned>(best);
}

unsigned MaxSplits(size_t blocks, size_t kv_len, size_t multiprocessors) {
  const size_t wave = std::max<size_t>(1, multiprocessors) * gpu::kDecodeBlocks;
  const size_t most = std::max<size_t>(1, kv_len / kMinSplitRows);
  return static_cast<unsigned>(std::min(most, CeilDiv(4 * wave, std::max<size_t>(1, blocks))));
}

CudaProblem MakeCudaProblem(const Inputs& in, size_t multiprocessors) {
  const Shape& s = in.shape;
  CudaProblem p;
  p.format = DeviceFormat(in);
  p.head_dim = KernelHeadDim(s.head_dim, p.format);
  const size_t rows = s.q_len * (s.n_heads / s.n_kv_heads);
  p.decode = rows <= kMaxDecodeRows;
  p.row_blocks = static_cast<unsigned>(CeilDiv(rows, p.decode ? gpu::kDecodeRows : gpu::kPrefillRows));
  if (p.decode) p.splits = ChooseSplits(s.batch * s.n_kv_heads * p.row_blocks, s.kv_len, multiprocessors);
  p.split_rows = static_cast<unsigned>(std::max<size_t>(1, CeilDiv(s.kv_len, p.splits)));
  p.layout = MakeLayout(s, p);
  return p;
}

}  // namespace qwen3vl::attention
