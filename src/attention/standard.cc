// SPDX-License-Identifier: Apache-2.0
#include "attention/standard.h"

#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "attention/mask.h"
#include "attention/row_codec.h"
#include "hw/checked.h"

namespace qwen3vl::attention {
namespace {

constexpr size_t kTaskTokens = 8;  // tokens that share one reading of the keys and values
constexpr size_t kLanes = 8;  // partial sums of a dot product: less rounding, and the compiler can vectorise

// Some tokens of all query heads that read one key/value head. Row r is token r / group, head r % group.
struct Task {
  size_t batch, kv_head, first_token, n_tokens, group;

  size_t rows() const { return n_tokens * group; }
  size_t token(size_t r) const { return first_token + r / group; }
  size_t head(size_t r) const { return kv_head * group + r % group; }
};

// What a thread needs; allocated before the threads start.
template <class Acc>
struct Scratch {
  std::vector<float> q;        // [rows, head_dim]
  std::vector<Acc> scores;     // [rows, kv_len]; after the softmax the weights
  std::vector<Acc> sums;       // [rows, head_dim]
  std::vector<KvRange> seen;   // [rows]
  std::vector<float> row;      // [head_dim]
  std::vector<std::byte> raw;  // a row of the cache as stored
};

template <class Acc>
Acc Dot(const float* a, const float* b, size_t n) {
  Acc lane[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) lane[j] += static_cast<Acc>(a[i + j]) * static_cast<Acc>(b[i + j]);
  for (; i < n; ++i) lane[0] += static_cast<Acc>(a[i]) * static_cast<Acc>(b[i]);
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

template <class Acc>
const float* ReadK(const Inputs& in, const Task& task, size_t pos, Scratch<Acc>& s) {
  if (in.cache) {
    in.cache->GetK(task.kv_head, pos, s.raw.data());
    DecodeRow(in.cache->format, s.raw.data(), in.shape.head_dim, s.row.data());
  } else {
    DecodeRow(in.k.format, RowAddress(in.k, task.batch, pos, task.kv_head), in.shape.head_dim, s.row.data());
  }
  return s.row.data();
}

template <class Acc>
const float* ReadV(const Inputs& in, const Task& task, size_t pos, Scratch<Acc>& s) {
  if (in.cache) {
    in.cache->GetV(task.kv_head, pos, s.raw.data());
    DecodeRow(in.cache->format, s.raw.data(), in.shape.head_dim, s.row.data());
  } else {
    DecodeRow(in.v.format, RowAddress(in.v, task.batch, pos, task.kv_head), in.shape.head_dim, s.row.data());
  }
  return s.row.data();
}

// Reads the q rows and finds what each sees; returns the union.
template <class Acc>
KvRange Prepare(const Inputs& in, const Task& task, Scratch<Acc>& s) {
  const size_t head_dim = in.shape.head_dim;
  KvRange all;
  for (size_t r = 0; r < task.rows(); ++r) {
    DecodeRow(in.q.format, RowAddress(in.q, task.batch, task.token(r), task.head(r)), head_dim,
              s.q.data() + r * head_dim);
    s.seen[r] = VisibleRange(in.shape, in.mask, task.batch, task.token(r));
    all = Union(all, s.seen[r]);
  }
  return all;
}

// Pass 1: scores with scale, softcap, bias and holes of the mask, in this order.
template <class Acc>
void Scores(const Inputs& in, const Task& task, KvRange all, Scratch<Acc>& s) {
  const size_t head_dim = in.shape.head_dim, kv_len = in.shape.kv_len;
  const Acc scale = in.scale != 0 ? static_cast<Acc>(in.scale) : 1 / std::sqrt(static_cast<Acc>(head_dim));
  const Acc cap = in.softcap;
  for (size_t pos = all.begin; pos < all.end; ++pos) {
    const float* k = ReadK(in, task, pos, s);
    for (size_t r = 0; r < task.rows(); ++r)
      s.scores[r * kv_len + pos] = Dot<Acc>(s.q.data() + r * head_dim, k, head_dim) * scale;
  }
  for (size_t r = 0; r < task.rows(); ++r) {
    Acc* scores = s.scores.data() + r * kv_len;
    const float* bias = BiasRow(in.shape, in.mask, task.head(r), task.token(r));
    const uint8_t* allowed = AllowedRow(in.shape, in.mask, task.token(r));
    for (size_t pos = s.seen[r].begin; pos < s.seen[r].end; ++pos) {
      if (cap > 0) scores[pos] = cap * std::tanh(scores[pos] / cap);
      if (bias) scores[pos] += bias[pos];
      if (allowed && !allowed[pos]) scores[pos] = -std::numeric_limits<Acc>::infinity();
    }
  }
}

// Pass 2: scores [seen] become weights; the others become 0. Returns the log of the sum of exp(score).
template <class Acc>
Acc Softmax(Acc* scores, size_t kv_len, KvRange seen) {
  constexpr Acc kNothing = -std::numeric_limits<Acc>::infinity();
  for (size_t pos = 0; pos < kv_len; ++pos)
    if (pos < seen.begin || pos >= seen.end) scores[pos] = kNothing;
  Acc row_max = kNothing;
  for (size_t pos = seen.begin; pos < seen.end; ++pos) row_max = std::max(row_max, scores[pos]);
  if (row_max == kNothing) row_max = 0;  // nothing seen: every exp below is 0, and no inf - inf
  Acc row_sum = 0;
  for (size_t pos = 0; pos < kv_len; ++pos) row_sum += scores[pos] = std::exp(scores[pos] - row_max);
  if (row_sum == 0) return kNothing;
  for (size_t pos = seen.begin; pos < seen.end; ++pos) scores[pos] /= row_sum;
  return row_max + std::log(row_sum);
}

// Pass 3: weights times values.
template <class Acc>
void WeightedSum(const Inputs& in, const Task& task, KvRange all, Scratch<Acc>& s) {
  const size_t head_dim = in.shape.head_dim, kv_len = in.shape.kv_len;
  std::fill_n(s.sums.begin(), task.rows() * head_dim, Acc{0});
  for (size_t pos = all.begin; pos < all.end; ++pos) {
    const float* v = ReadV(in, task, pos, s);
    for (size_t r = 0; r < task.rows(); ++r) {
      const Acc weight = s.scores[r * kv_len + pos];
      if (weight == 0) continue;  // a hidden row counts for nothing, even where it holds an infinity
      Acc* sum = s.sums.data() + r * head_dim;
      for (size_t i = 0; i < head_dim; ++i) sum[i] += weight * static_cast<Acc>(v[i]);
    }
  }
}

template <class Acc>
void WriteRow(const Inputs& in, const Outputs& out, const Task& task, size_t r, Acc lse, Scratch<Acc>& s) {
  const Shape& shape = in.shape;
  const Acc* sum = s.sums.data() + r * shape.head_dim;
  for (size_t i = 0; i < shape.head_dim; ++i) s.row[i] = static_cast<float>(sum[i]);
  const size_t row_stride = out.out_row_stride ? out.out_row_stride : shape.n_heads * shape.head_dim;
  const size_t element =
      (task.batch * shape.q_len + task.token(r)) * row_stride + task.head(r) * shape.head_dim;
  EncodeRow(out.out_format, s.row.data(), shape.head_dim,
            static_cast<std::byte*>(out.out) + hw::RowBytes(out.out_format, element));
  const size_t lse_row = (task.batch * shape.n_heads + task.head(r)) * shape.q_len + task.token(r);
  if (out.lse) out.lse[lse_row] = static_cast<float>(lse);
  if (out.weights)
    for (size_t pos = 0; pos < shape.kv_len; ++pos)
      out.weights[lse_row * shape.kv_len + pos] = static_cast<float>(s.scores[r * shape.kv_len + pos]);
}

template <class Acc>
void RunTask(const Inputs& in, const Outputs& out, const Task& task, Scratch<Acc>& s) noexcept {
  const KvRange all = Prepare(in, task, s);
  Scores(in, task, all, s);
  std::vector<Acc>& scores = s.scores;
  Acc* lse = scores.data() + task.rows() * in.shape.kv_len;
  for (size_t r = 0; r < task.rows(); ++r)
    lse[r] = Softmax(scores.data() + r * in.shape.kv_len, in.shape.kv_len, s.seen[r]);
  WeightedSum(in, task, all, s);
  for (size_t r = 0; r < task.rows(); ++r) WriteRow(in, out, task, r, lse[r], s);
}

// How a problem is cut: the tokens of a head in chunks of kTaskTokens.
struct Cut {
  size_t chunks, tasks, threads;
  size_t rows;  // of the largest task
};

Cut MakeCut(const Shape& shape, size_t threads) {
  const size_t chunks = (shape.q_len + kTaskTokens - 1) / kTaskTokens;
  const size_t tasks = shape.batch * shape.n_kv_heads * chunks;
  return {chunks, tasks, std::max<size_t>(1, std::min(threads, tasks)),
          std::min(kTaskTokens, shape.q_len) * (shape.n_heads / shape.n_kv_heads)};
}

template <class Acc>
std::vector<Scratch<Acc>> MakeScratch(const Shape& shape, size_t rows, size_t threads) {
  const size_t n_scores = hw::CheckedMul(rows, hw::CheckedAdd(shape.kv_len, 1, "scores"), "scores");
  try {
    std::vector<Scratch<Acc>> all(threads);
    for (Scratch<Acc>& s : all) {
      s.q.resize(rows * shape.head_dim);
      s.scores.resize(n_scores);  // the scores and one log-sum-exp a row
      s.sums.resize(rows * shape.head_dim);
      s.seen.resize(rows);
      s.row.resize(shape.head_dim);
      s.raw.resize(shape.head_dim * sizeof(float));
    }
    return all;
  } catch (const std::exception&) {  // bad_alloc, or length_error past any memory there could be
    throw Error(ErrorCode::kOutOfMemory, "standard attention: no memory for " + std::to_string(threads) +
                                             " x " + std::to_string(n_scores * sizeof(Acc)) +
                                             " bytes of scores; use --attention tiled or a shorter context");
  }
}

}  // namespace

template <class Acc>
void AttendStandard(const Inputs& in, const Outputs& out, hw::Threads threads) {
  const Shape& shape = in.shape;
  const Cut cut = MakeCut(shape, threads.count);
  threads.count = cut.threads;
  auto scratch = MakeScratch<Acc>(shape, cut.rows, cut.threads);
  hw::ParallelFor(threads, cut.tasks, [&](size_t index, size_t thread) noexcept {
    // Causal: late rows are the heavy ones.
    const size_t first = (cut.chunks - 1 - index % cut.chunks) * kTaskTokens;
    const size_t head = index / cut.chunks;
    const Task task{head / shape.n_kv_heads, head % shape.n_kv_heads, first,
                    std::min(kTaskTokens, shape.q_len - first), shape.n_heads / shape.n_kv_heads};
    RunTask(in, out, task, scratch[thread]);
  });
}

size_t StandardScratchBytes(const Shape& shape, size_t threads, size_t acc_bytes) {
  const Cut cut = MakeCut(shape, threads);
  const size_t row = shape.head_dim * (sizeof(float) + acc_bytes) + (shape.kv_len + 1) * acc_bytes;
  return cut.threads * (cut.rows * (row + sizeof(KvRange)) + 2 * shape.head_dim * sizeof(float));
}

template void AttendStandard<float>(const Inputs&, const Outputs&, hw::Threads);
template void AttendStandard<double>(const Inputs&, const Outputs&, hw::Threads);

}  // namespace qwen3vl::attention
