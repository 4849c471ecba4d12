// SPDX-License-Identifier: Apache-2.0
#include "attention/check.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "attention/row_codec.h"
#include "hw/checked.h"

namespace qwen3vl::attention {
namespace {

[[noreturn]] void Reject(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, "attention: " + message);
}

std::string Str(size_t n) { return std::to_string(n); }

void CheckShape(const Shape& s) {
  if (s.n_heads == 0 || s.n_kv_heads == 0 || s.head_dim == 0)
    Reject("n_heads, n_kv_heads and head_dim must be at least 1");
  if (s.n_heads % s.n_kv_heads != 0)
    Reject("n_heads " + Str(s.n_heads) + " is not a multiple of n_kv_heads " + Str(s.n_kv_heads));
  hw::CheckedProduct({s.batch, s.q_len, s.n_heads, s.head_dim, sizeof(float)}, "attention output");
  hw::CheckedProduct({s.batch, s.kv_len, s.n_kv_heads, s.head_dim, sizeof(float)}, "attention keys");
  hw::CheckedAdd(hw::CheckedAdd(s.q_len, s.kv_len, "attention lengths"), 1, "attention lengths");
}

void CheckTensor(const char* name, const TensorRef& t, const Shape& s, size_t rows) {
  if (!IsRowFormat(t.format))
    Reject(std::string(name) + " is " + std::string(hw::Name(t.format)) + ", want f32, f16, bf16 or q8_0");
  if (s.batch > 0 && rows > 0 && !t.data) Reject(std::string(name) + " has no data");
  if (t.format == hw::Format::kQ8_0 &&
      (s.head_dim % 32 || t.batch_stride % 32 || t.row_stride % 32 || t.head_stride % 32))
    Reject(std::string(name) + " is q8_0: head_dim and strides must be multiples of 32");
}

void CheckCache(const Inputs& in) {
  const KvCacheLayer& cache = *in.cache;
  const Shape& s = in.shape;
  if (s.batch != 1) Reject("a KV cache holds one sequence, the batch has " + Str(s.batch));
  if (cache.head_dim != s.head_dim || cache.n_kv_heads != s.n_kv_heads)
    Reject("the KV cache has " + Str(cache.n_kv_heads) + " heads of " + Str(cache.head_dim) +
           ", the shape says " + Str(s.n_kv_heads) + " of " + Str(s.head_dim));
  if (s.kv_len > cache.length)
    Reject("kv_len " + Str(s.kv_len) + ", but the KV cache holds " + Str(cache.length) + " rows");
}

void CheckMask(const Mask& mask, const Shape& s) {
  if (mask.kv_begin > mask.kv_end)
    Reject("kv range " + Str(mask.kv_begin) + " to " + Str(mask.kv_end) + " runs backwards");
  if (!mask.kv_lengths.empty() && mask.kv_lengths.size() != s.batch)
    Reject(Str(mask.kv_lengths.size()) + " kv_lengths for a batch of " + Str(s.batch));
  if (mask.bias && mask.bias_heads != 1 && mask.bias_heads != s.n_heads)
    Reject("bias_heads is " + Str(mask.bias_heads) + ", want 1 or " + Str(s.n_heads));
  if (mask.segments.empty()) return;
  if (s.q_len != s.kv_len)
    Reject("segments need q_len " + Str(s.q_len) + " equal to kv_len " + Str(s.kv_len));
  if (mask.segments.size() < 2 || mask.segments.front() != 0 || mask.segments.back() != s.q_len ||
      std::ranges::adjacent_find(mask.segments, std::ranges::greater_equal{}) != mask.segments.end())
    Reject("segments must rise from 0 to q_len " + Str(s.q_len));
}

bool AllFinite(const float* values, size_t n) noexcept {
  return std::all_of(values, values + n, [](float x) { return std::isfinite(x); });
}

bool TensorIsFinite(const TensorRef& t, const Shape& s, size_t rows, size_t heads) {
  std::vector<float> row(s.head_dim);
  for (size_t b = 0; b < s.batch; ++b)
    for (size_t r = 0; r < rows; ++r)
      for (size_t h = 0; h < heads; ++h) {
        DecodeRow(t.format, RowAddress(t, b, r, h), s.head_dim, row.data());
        if (!AllFinite(row.data(), s.head_dim)) return false;
      }
  return true;
}

bool CacheIsFinite(const KvCacheLayer& cache, size_t kv_len) {
  std::vector<float> row(cache.head_dim);
  std::vector<std::byte> raw(hw::RowBytes(cache.format, cache.head_dim));
  for (size_t h = 0; h < cache.n_kv_heads; ++h)
    for (size_t pos = 0; pos < kv_len; ++pos)
      for (const auto get : {&KvCacheLayer::GetK, &KvCacheLayer::GetV}) {
        (cache.*get)(h, pos, raw.data());
        DecodeRow(cache.format, raw.data(), cache.head_dim, row.data());
        if (!AllFinite(row.data(), cache.head_dim)) return false;
      }
  return true;
}

}  // namespace

void CheckProblem(const Inputs& in, const Outputs& out) {
  const Shape& s = in.shape;
  CheckShape(s);
  CheckTensor("q", in.q, s, s.q_len);
  if (in.cache) {
    CheckCache(in);
  } else {
    CheckTensor("k", in.k, s, s.kv_len);
    CheckTensor("v", in.v, s, s.kv_len);
  }
  CheckMask(in.mask, s);
  if (!(in.softcap >= 0) || !std::isfinite(in.softcap) || !std::isfinite(in.scale))
    Reject("scale and softcap must be finite, softcap not negative");
  if (s.batch > 0 && s.q_len > 0 && !out.out) Reject("no place for the output");
  if (!IsRowFormat(out.out_format) || hw::IsQuantized(out.out_format))
    Reject("output format " + std::string(hw::Name(out.out_format)) + ", want f32, f16 or bf16");
  if (out.out_row_stride != 0 && out.out_row_stride < s.n_heads * s.head_dim)
    Reject("output rows of " + Str(s.n_heads * s.head_dim) + " elements do not fit a stride of " +
           Str(out.out_row_stride));
}

void CheckEachAlone(const Inputs& in, const Outputs& out) {
  const Mask& mask = in.mask;
  if (!in.cache || !mask.causal || mask.bias || mask.allowed || !mask.segments.empty() || out.lse ||
      out.weights)
    Reject(
        "rows as each alone want a KV cache, a causal mask, and neither bias, holes and segments nor "
        "log-sum-exp and weights");
}

bool ResultIsFinite(const Shape& s, const Outputs& out) noexcept {
  const size_t width = s.n_heads * s.head_dim;
  const size_t stride = out.out_row_stride ? out.out_row_stride : width;
  constexpr size_t kChunk = 64;
  float chunk[kChunk];
  for (size_t row = 0; row < s.batch * s.q_len; ++row)
    for (size_t i = 0; i < width; i += kChunk) {
      const size_t n = std::min(kChunk, width - i);
      const size_t offset = hw::RowBytes(out.out_format, row * stride + i);
      DecodeRow(out.out_format, static_cast<const std::byte*>(out.out) + offset, n, chunk);
      if (!AllFinite(chunk, n)) return false;
    }
  return true;
}

bool InputsAreFinite(const Inputs& in) {
  const Shape& s = in.shape;
  if (!TensorIsFinite(in.q, s, s.q_len, s.n_heads)) return false;
  if (in.cache) return CacheIsFinite(*in.cache, s.kv_len);
  return TensorIsFinite(in.k, s, s.kv_len, s.n_kv_heads) && TensorIsFinite(in.v, s, s.kv_len, s.n_kv_heads);
}

}  // namespace qwen3vl::attention
