// SPDX-License-Identifier: Apache-2.0
// Mixture-of-experts matrices in the four ways that files hold them. Wanted: one [out, in] matrix an expert.
#include <cstring>

#include "qwen3vl/bind_weights.h"
#include "qwen3vl/error.h"
#include "qwen3vl/weights_table.h"

namespace qwen3vl {
namespace {

// The matrix of every expert out of [n_experts, rows, cols]: `count` rows from `first_row`.
std::vector<Weight> ExpertRows(const FileTensor& t, size_t n_experts, size_t rows, size_t cols,
                               size_t first_row, size_t count) {
  const Weight all = MatrixOf(t, n_experts * rows, cols);
  std::vector<Weight> out;
  for (size_t e = 0; e < n_experts; ++e)
    out.push_back({all.row(e * rows + first_row), all.format, count, cols});
  return out;
}

const FileTensor& Require3d(const BindSource& source, const std::string& key, std::vector<size_t> shape) {
  const FileTensor& t = RequireTensor(source, key);
  RequireShape(t, shape);
  source.progress.Mapped(t.data, t.bytes);
  return t;
}

void BindGguf(const BindSource& source, const TextConfig& c, size_t layer, TextLayerWeights& l) {
  const std::string prefix = GgufLayer(layer);
  const size_t n = c.n_experts, ffn = c.expert_ffn_dim;
  const FileTensor& down = Require3d(source, prefix + "ffn_down_exps.weight", {n, c.dim, ffn});
  l.expert_down = ExpertRows(down, n, c.dim, ffn, 0, c.dim);
  const std::string fused = prefix + "ffn_gate_up_exps.weight";
  if (source.table.Has(fused)) {
    const FileTensor& both = Require3d(source, fused, {n, 2 * ffn, c.dim});
    l.expert_gate = ExpertRows(both, n, 2 * ffn, c.dim, 0, ffn);
    l.expert_up = ExpertRows(both, n, 2 * ffn, c.dim, ffn, ffn);
    return;
  }
  const FileTensor& gate = Require3d(source, prefix + "ffn_gate_exps.weight", {n, ffn, c.dim});
  const FileTensor& up = Require3d(source, prefix + "ffn_up_exps.weight", {n, ffn, c.dim});
  l.expert_gate = ExpertRows(gate, n, ffn, c.dim, 0, ffn);
  l.expert_up = ExpertRows(up, n, ffn, c.dim, 0, ffn);
}

// [in, out] elements of `size` bytes to [out, in], in blocks that stay in the first-level cache.
void Transpose(const std::byte* in, size_t n_in, size_t n_out, size_t size, std::byte* out) {
  constexpr size_t kBlock = 32;
  for (size_t i0 = 0; i0 < n_in; i0 += kBlock)
    for (size_t o0 = 0; o0 < n_out; o0 += kBlock)
      for (size_t o = o0; o < std::min(o0 + kBlock, n_out); ++o)
        for (size_t i = i0; i < std::min(i0 + kBlock, n_in); ++i)
          std::memcpy(out + (o * n_in + i) * size, in + (i * n_out + o) * size, size);
}

// [n_experts, in, out] as the published checkpoints have it, copied to [n_experts, out, in].
FileTensor Transposed(const BindSource& source, const FileTensor& t) {
  MatrixOf(t, 1, 1);  // refuses types without a format
  const size_t n = t.shape[0], n_in = t.shape[1], n_out = t.shape[2];
  const size_t size = hw::Info(*t.format).block_bytes;
  FileTensor out = t;
  std::byte* to = NewOwnedBytes(source, t.bytes);
  out.data = to;
  out.shape = {n, n_out, n_in};
  const size_t expert_bytes = n_in * n_out * size;
  for (size_t e = 0; e < n; ++e) {
    Transpose(t.data + e * expert_bytes, n_in, n_out, size, to + e * expert_bytes);
    source.progress.Done(expert_bytes);
  }
  return out;
}

// Published checkpoints hold [expert, in, out]; those saved by transformers 5 may hold [expert, out, in]. A
// square tensor follows its partner, which then is none.
void BindPackedHf(const BindSource& source, const TextConfig& c, const std::string& prefix,
                  TextLayerWeights& l) {
  const size_t n = c.n_experts, ffn = c.expert_ffn_dim;
  FileTensor gate_up = RequireTensor(source, prefix + "gate_up_proj");
  FileTensor down = RequireTensor(source, prefix + "down_proj");
  const std::vector<size_t> gate_up_out_in{n, 2 * ffn, c.dim}, gate_up_in_out{n, c.dim, 2 * ffn};
  const std::vector<size_t> down_out_in{n, c.dim, ffn}, down_in_out{n, ffn, c.dim};
  const bool gate_up_ready = c.dim == 2 * ffn ? down.shape == down_out_in : gate_up.shape == gate_up_out_in;
  const bool down_ready = c.dim == ffn ? gate_up.shape == gate_up_out_in : down.shape == down_out_in;
  RequireShape(gate_up, gate_up_ready ? gate_up_out_in : gate_up_in_out);
  RequireShape(down, down_ready ? down_out_in : down_in_out);
  for (auto [tensor, ready] : {std::pair{&gate_up, gate_up_ready}, std::pair{&down, down_ready}}) {
    if (ready) {
      source.progress.Mapped(tensor->data, tensor->bytes);
    } else {
      *tensor = Transposed(source, *tensor);
    }
  }
  l.expert_gate = ExpertRows(gate_up, n, 2 * ffn, c.dim, 0, ffn);
  l.expert_up = ExpertRows(gate_up, n, 2 * ffn, c.dim, ffn, ffn);
  l.expert_down = ExpertRows(down, n, c.dim, ffn, 0, c.dim);
}

// One [out, in] tensor for every expert and matrix, as in text-only Qwen3 checkpoints.
void BindSeparateHf(const BindSource& source, const TextConfig& c, const std::string& prefix,
                    TextLayerWeights& l) {
  const auto bind = [&](size_t expert, const char* name, size_t rows, size_t cols) {
    const FileTensor& t = RequireTensor(source, prefix + std::to_string(expert) + "." + name + ".weight");
    RequireShape(t, {rows, cols});
    source.progress.Mapped(t.data, t.bytes);
    return MatrixOf(t, rows, cols);
  };
  for (size_t e = 0; e < c.n_experts; ++e) {
    l.expert_gate.push_back(bind(e, "gate_proj", c.expert_ffn_dim, c.dim));
    l.expert_up.push_back(bind(e, "up_proj", c.expert_ffn_dim, c.dim));
    l.expert_down.push_back(bind(e, "down_proj", c.dim, c.expert_ffn_dim));
  }
}

}  // namespace

void BindExperts(const BindSource& source, const TextConfig& c, size_t layer, TextLayerWeights& l) {
  if (source.naming == Naming::kGguf) return BindGguf(source, c, layer, l);
  const std::string prefix = HfLayer(layer) + "mlp.experts.";
  if (source.table.Has(prefix + "0.gate_proj.weight")) return BindSeparateHf(source, c, prefix, l);
  BindPackedHf(source, c, prefix, l);
}

}  // namespace qwen3vl
