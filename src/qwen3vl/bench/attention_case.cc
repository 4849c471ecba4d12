// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/attention_case.h"

#include <algorithm>
#include <limits>

#include "attention/mask.h"
#include "attention/row_codec.h"
#include "attention/standard.h"
#include "hw/checked.h"
#include "hw/cpu_info.h"
#include "qwen3vl/bench/random.h"
#include "qwen3vl/deviation.h"
#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

attention::Shape ShapeOf(const AttentionProblem& p) {
  return {p.shape.batch, p.q_len, p.kv_len, p.shape.n_heads, p.shape.n_kv_heads, p.shape.head_dim};
}

std::vector<size_t> LengthsOf(const AttentionProblem& p) {
  return p.shape.padded ? PaddedLengths(p.shape.batch, p.kv_len) : std::vector<size_t>{};
}

size_t KvElements(const AttentionProblem& p) {
  return hw::CheckedProduct({p.shape.batch, p.kv_len, p.shape.n_kv_heads, p.shape.head_dim}, "keys");
}

size_t QueryElements(const AttentionProblem& p) {
  return hw::CheckedProduct({p.shape.batch, p.q_len, p.shape.n_heads, p.shape.head_dim}, "queries");
}

attention::KvCacheShape CacheShape(const AttentionProblem& p) {
  return {p.layers, p.shape.n_kv_heads, p.shape.head_dim, p.kv_len, p.kv_format};
}

void CheckFormat(const AttentionProblem& p) {
  if (p.shape.head_dim % hw::Info(p.kv_format).block_elements != 0)
    throw Error(ErrorCode::kUnsupported, "heads of " + std::to_string(p.shape.head_dim) +
                                             " values are no whole blocks of " +
                                             std::string(hw::Name(p.kv_format)));
}

void CheckMemory(const AttentionProblem& p) {
  size_t bytes = 2 * sizeof(float) * (QueryElements(p) + KvElements(p));
  if (p.cache)
    bytes = hw::CheckedAdd(bytes, attention::KvCache::BytesFor(CacheShape(p)), "cache");
  else if (p.kv_format != hw::Format::kF32)
    bytes += 2 * hw::RowBytes(p.kv_format, KvElements(p));
  const size_t available = hw::ProbeCpu().memory_available_bytes;
  if (available != 0 && bytes > available / 2)
    throw Error(ErrorCode::kOutOfMemory, "attention over " + std::to_string(p.kv_len) + " keys: needs " +
                                             std::to_string(bytes >> 20) + " MiB, want at most half of " +
                                             std::to_string(available >> 20) +
                                             " MiB free; ask for a shorter length");
}

hw::AlignedBuffer<float> RandomTensor(size_t n, uint64_t seed) {
  hw::AlignedBuffer<float> t(n);
  FillRandom(t.span(), seed);
  return t;
}

hw::AlignedBuffer<std::byte> Stored(const hw::AlignedBuffer<float>& t, hw::Format format, size_t cols) {
  const size_t row_bytes = hw::RowBytes(format, cols);
  hw::AlignedBuffer<std::byte> out(t.size() / cols * row_bytes);
  for (size_t row = 0; row < t.size() / cols; ++row)
    attention::EncodeRow(format, t.data() + row * cols, cols, out.data() + row * row_bytes);
  return out;
}

// As rows name it.
std::string PathName(AttentionForm form) {
  if (form == AttentionForm::kInt16) return "cpu_tiled, int16 products";
  if (form == AttentionForm::kTiled) return "cpu_tiled";
  return form == AttentionForm::kStandard ? "standard" : "standard with weights";
}

}  // namespace

std::string_view Name(AttentionForm form) {
  switch (form) {
    case AttentionForm::kTiled:
      return "tiled";
    case AttentionForm::kInt16:
      return "int16";
    case AttentionForm::kStandard:
      return "standard";
    case AttentionForm::kWeights:
      break;
  }
  return "weights";
}

std::optional<AttentionForm> AttentionFormFromName(std::string_view name) {
  for (const AttentionForm form :
       {AttentionForm::kTiled, AttentionForm::kInt16, AttentionForm::kStandard, AttentionForm::kWeights})
    if (name == Name(form)) return form;
  return std::nullopt;
}

AttentionData::AttentionData(const AttentionProblem& problem) : problem_(problem) {
  CheckFormat(problem_);
  CheckMemory(problem_);
  const AttentionShape& s = problem_.shape;
  q_ = RandomTensor(QueryElements(problem_), 1);
  k_ = RandomTensor(KvElements(problem_), 2);
  v_ = RandomTensor(KvElements(problem_), 3);
  out_ = hw::AlignedBuffer<float>::Zeroed(q_.size());
  kv_lengths_ = LengthsOf(problem_);
  if (problem_.cache) {
    cache_ = std::make_unique<attention::KvCache>(CacheShape(problem_));
    cache_->Expect(problem_.kv_len);
    const size_t cols = s.n_kv_heads * s.head_dim;
    for (size_t layer = 0; layer < problem_.layers; ++layer)
      cache_->Append(layer, {k_.data(), problem_.kv_len, cols}, {v_.data(), problem_.kv_len, cols});
  } else if (problem_.kv_format != hw::Format::kF32) {
    k_stored_ = Stored(k_, problem_.kv_format, s.head_dim);
    v_stored_ = Stored(v_, problem_.kv_format, s.head_dim);
  }
}

attention::Inputs AttentionData::Inputs(size_t layer) const {
  const AttentionShape& s = problem_.shape;
  attention::Inputs in;
  in.shape = ShapeOf(problem_);
  const auto tensor = [&](const void* data, hw::Format format, size_t rows, size_t heads) {
    const size_t row = heads * s.head_dim;
    return attention::TensorRef{data, format, rows * row, row, s.head_dim};
  };
  in.q = tensor(q_.data(), hw::Format::kF32, problem_.q_len, s.n_heads);
  if (cache_) {
    in.cache = &cache_->layer(layer);
  } else {
    const bool stored = k_stored_.size() != 0;
    in.k = tensor(stored ? static_cast<const void*>(k_stored_.data()) : k_.data(), problem_.kv_format,
                  problem_.kv_len, s.n_kv_heads);
    in.v = tensor(stored ? static_cast<const void*>(v_stored_.data()) : v_.data(), problem_.kv_format,
                  problem_.kv_len, s.n_kv_heads);
  }
  in.mask.causal = s.causal;
  in.mask.kv_lengths = kv_lengths_;
  return in;
}

attention::AttentionReport AttentionData::Run(size_t layer, AttentionForm form, const hw::TilePlan& plan) {
  attention::Outputs out;
  out.out = out_.data();
  if (form == AttentionForm::kWeights) {
    weights_.Reserve(AttentionWeightBytes(problem_) / sizeof(float));
    out.weights = weights_.data();
  }
  attention::Options options;
  options.plan = plan;
  options.request = IsTiled(form) ? attention::PathRequest::kTiled : attention::PathRequest::kStandard;
  if (form == AttentionForm::kInt16) options.cpu_products = attention::CpuProducts::kInt16;
  return attention::Attend(Inputs(layer), out, options, workspace_);
}

void AttentionData::ForgetOutput() {
  std::ranges::fill(out_.span(), std::numeric_limits<float>::quiet_NaN());
}

size_t AttentionData::ScratchBytes(AttentionForm form) const {
  if (IsTiled(form)) return workspace_.bytes();
  return attention::StandardScratchBytes(ShapeOf(problem_), problem_.threads, sizeof(float)) +
         (form == AttentionForm::kWeights ? AttentionWeightBytes(problem_) : 0);
}

Accuracy AttentionData::Check(size_t max_rows) const {
  const AttentionShape& s = problem_.shape;
  const attention::Shape shape = ShapeOf(problem_);
  const attention::Mask mask = Inputs(0).mask;
  const size_t n_rows = s.batch * problem_.q_len, cols = s.n_heads * s.head_dim;
  const size_t n_checked = std::max<size_t>(1, std::min(max_rows, n_rows));
  hw::AlignedBuffer<float> expected(cols);
  Deviation deviation;
  for (size_t i = 0; i < n_checked; ++i) {
    const size_t row = n_checked > 1 ? i * (n_rows - 1) / (n_checked - 1) : n_rows - 1;
    const size_t batch = row / problem_.q_len, token = row % problem_.q_len;
    // The row alone, against the keys that it sees: the reference needs no mask.
    attention::Inputs one;
    one.shape = {1, 1, problem_.kv_len, s.n_heads, s.n_kv_heads, s.head_dim};
    const size_t kv_row = s.n_kv_heads * s.head_dim;
    const size_t first_kv = batch * problem_.kv_len * kv_row;
    one.q = {q_.data() + row * cols, hw::Format::kF32, cols, cols, s.head_dim};
    one.k = {k_.data() + first_kv, hw::Format::kF32, 0, kv_row, s.head_dim};
    one.v = {v_.data() + first_kv, hw::Format::kF32, 0, kv_row, s.head_dim};
    const attention::KvRange seen = attention::VisibleRange(shape, mask, batch, token);
    one.mask.kv_begin = seen.begin;
    one.mask.kv_end = seen.end;
    attention::Outputs out;
    out.out = expected.data();
    attention::AttendStandard<double>(one, out, hw::Threads{problem_.threads});
    for (size_t c = 0; c < cols; ++c) deviation.Add(out_[row * cols + c], expected[c]);
  }
  return {deviation.max_abs, deviation.rel_norm(), n_checked * cols,
          "standard attention in float64 on float32 keys and values"};
}

size_t CopiesBeyondCache(size_t bytes, const hw::CpuInfo& cpu) {
  const size_t wanted = kCachesBeyond * cpu.l3_bytes / std::max<size_t>(1, bytes) + 1;
  if (cpu.memory_available_bytes == 0) return wanted;
  const size_t affordable = cpu.memory_available_bytes / 4 / std::max<size_t>(1, bytes);
  return std::max<size_t>(1, std::min(wanted, affordable));
}

size_t AttentionWeightBytes(const AttentionProblem& p) {
  return hw::CheckedProduct({p.shape.batch, p.shape.n_heads, p.q_len, p.kv_len, sizeof(float)}, "weights");
}

double AttentionFlop(const AttentionProblem& p) {
  const std::vector<size_t> lengths = LengthsOf(p);
  attention::Mask mask;
  mask.causal = p.shape.causal;
  mask.kv_lengths = lengths;
  double pairs = 0;
  for (size_t b = 0; b < p.shape.batch; ++b)
    for (size_t row = 0; row < p.q_len; ++row)
      pairs += static_cast<double>(attention::VisibleRange(ShapeOf(p), mask, b, row).size());
  return 4 * pairs * static_cast<double>(p.shape.n_heads * p.shape.head_dim);
}

double AttentionBytes(const AttentionProblem& p) {
  const std::vector<size_t> lengths = LengthsOf(p);
  size_t kv_rows = p.shape.batch * p.kv_len;
  if (!lengths.empty()) {
    kv_rows = 0;
    for (const size_t n : lengths) kv_rows += n;
  }
  const size_t row_bytes = hw::RowBytes(p.kv_format, p.shape.n_kv_heads * p.shape.head_dim);
  return 2.0 * static_cast<double>(kv_rows * row_bytes) +
         2.0 * sizeof(float) * static_cast<double>(QueryElements(p));
}

Variant MakeAttentionVariant(std::shared_ptr<AttentionData> data, const AttentionVariant& variant, Row row) {
  const AttentionProblem& p = data->problem();
  row.shape = {{"q_len", p.q_len},
               {"kv_len", p.kv_len},
               {"heads", p.shape.n_heads},
               {"kv_heads", p.shape.n_kv_heads},
               {"head_dim", p.shape.head_dim},
               {"causal", p.shape.causal ? 1 : 0}};
  if (p.shape.batch > 1) row.shape.emplace_back("batch", p.shape.batch);
  if (p.layers > 1) row.shape.emplace_back("caches", p.layers);
  row.length = p.kv_len;
  row.dtype = std::string(hw::Name(p.kv_format)) + (p.cache ? " cache" : "");
  row.path = PathName(variant.form);
  row.plan = variant.plan.reason;
  row.threads = variant.plan.threads;
  row.isa = hw::Name(hw::SelectedIsa());
  row.flop = AttentionFlop(p);
  row.bytes = AttentionBytes(p);
  row.formula =
      "flop: 4 * head_dim a pair of query and visible key, all heads; bytes: q, out, keys and values once";
  row.tokens = p.shape.batch * p.q_len;

  Variant v;
  v.row = std::move(row);
  v.units = p.layers;
  v.run = [data, variant, n = p.layers] {
    for (size_t layer = 0; layer < n; ++layer) data->Run(layer, variant.form, variant.plan);
  };
  const auto report = std::make_shared<attention::AttentionReport>();
  v.check = [data, variant, report] {
    data->ForgetOutput();
    *report = data->Run(0, variant.form, variant.plan);
    return data->Check(variant.check_rows);
  };
  v.finish = [data, variant, report](Row& r) {
    r.scratch_bytes = data->ScratchBytes(variant.form);
    r.tile = report->tile;
    if (report->used == attention::Path::kCpuTiled) {
      if (report->products == attention::CpuProducts::kF32) r.path = PathName(AttentionForm::kTiled);
      r.q_rows = variant.plan.q_rows;
    } else {
      r.plan = report->sentence;
      if (IsTiled(variant.form)) r.path = attention::Name(report->used);
    }
  };
  return v;
}

}  // namespace qwen3vl::bench
