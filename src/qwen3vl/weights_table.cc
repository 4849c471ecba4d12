// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/weights_table.h"

namespace qwen3vl {
namespace {

constexpr const char* kText = "model.language_model.";
constexpr const char* kVision = "model.visual.";

class Rows {
 public:
  void Matrix(std::string hf, std::string gguf, size_t rows, size_t cols, Weight& to) {
    rows_.push_back({std::move(hf), std::move(gguf), {rows, cols}, &to, nullptr});
  }
  void Vector(std::string hf, std::string gguf, std::vector<size_t> shape, qwen3vl::Vector& to) {
    rows_.push_back({std::move(hf), std::move(gguf), std::move(shape), nullptr, &to});
  }
  // A matrix and its bias.
  void Linear(const std::string& hf, const std::string& gguf, size_t rows, size_t cols, Weight& w,
              qwen3vl::Vector& b) {
    Matrix(hf + ".weight", gguf + ".weight", rows, cols, w);
    Vector(hf + ".bias", gguf + ".bias", {rows}, b);
  }
  void Norm(const std::string& hf, const std::string& gguf, size_t size, qwen3vl::Vector& w,
            qwen3vl::Vector& b) {
    Vector(hf + ".weight", gguf + ".weight", {size}, w);
    Vector(hf + ".bias", gguf + ".bias", {size}, b);
  }
  std::vector<TensorRow> Take() { return std::move(rows_); }

 private:
  std::vector<TensorRow> rows_;
};

void TextLayerRows(const TextConfig& c, size_t i, TextLayerWeights& l, Rows& rows) {
  const std::string hf = HfLayer(i), gguf = GgufLayer(i);
  rows.Vector(hf + "input_layernorm.weight", gguf + "attn_norm.weight", {c.dim}, l.attn_norm);
  rows.Vector(hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight", {c.dim}, l.ffn_norm);
  rows.Vector(hf + "self_attn.q_norm.weight", gguf + "attn_q_norm.weight", {c.head_dim}, l.q_norm);
  rows.Vector(hf + "self_attn.k_norm.weight", gguf + "attn_k_norm.weight", {c.head_dim}, l.k_norm);
  rows.Matrix(hf + "self_attn.q_proj.weight", gguf + "attn_q.weight", c.q_dim(), c.dim, l.q);
  rows.Matrix(hf + "self_attn.k_proj.weight", gguf + "attn_k.weight", c.kv_dim(), c.dim, l.k);
  rows.Matrix(hf + "self_attn.v_proj.weight", gguf + "attn_v.weight", c.kv_dim(), c.dim, l.v);
  rows.Matrix(hf + "self_attn.o_proj.weight", gguf + "attn_output.weight", c.dim, c.q_dim(), l.o);
  if (c.n_experts > 0) {
    rows.Matrix(hf + "mlp.gate.weight", gguf + "ffn_gate_inp.weight", c.n_experts, c.dim, l.router);
    return;
  }
  rows.Matrix(hf + "mlp.gate_proj.weight", gguf + "ffn_gate.weight", c.ffn_dim, c.dim, l.gate);
  rows.Matrix(hf + "mlp.up_proj.weight", gguf + "ffn_up.weight", c.ffn_dim, c.dim, l.up);
  rows.Matrix(hf + "mlp.down_proj.weight", gguf + "ffn_down.weight", c.dim, c.ffn_dim, l.down);
}

void VisionLayerRows(const VisionConfig& c, size_t i, VisionLayerWeights& l, Rows& rows) {
  const std::string hf = kVision + ("blocks." + std::to_string(i)) + ".";
  const std::string gguf = "v.blk." + std::to_string(i) + ".";
  rows.Norm(hf + "norm1", gguf + "ln1", c.dim, l.norm1_w, l.norm1_b);
  rows.Norm(hf + "norm2", gguf + "ln2", c.dim, l.norm2_w, l.norm2_b);
  rows.Linear(hf + "attn.qkv", gguf + "attn_qkv", 3 * c.dim, c.dim, l.qkv, l.qkv_b);
  rows.Linear(hf + "attn.proj", gguf + "attn_out", c.dim, c.dim, l.proj, l.proj_b);
  rows.Linear(hf + "mlp.linear_fc1", gguf + "ffn_up", c.ffn_dim, c.dim, l.fc1, l.fc1_b);
  rows.Linear(hf + "mlp.linear_fc2", gguf + "ffn_down", c.dim, c.ffn_dim, l.fc2, l.fc2_b);
}

struct MergerNames {
  std::string norm, fc1, fc2;
};

void MergerRows(const MergerNames& hf, const MergerNames& gguf, const VisionConfig& c, size_t norm_dim,
                MergerWeights& m, Rows& rows) {
  const size_t joined = c.dim * c.merge_size * c.merge_size;
  rows.Norm(hf.norm, gguf.norm, norm_dim, m.norm_w, m.norm_b);
  rows.Linear(hf.fc1, gguf.fc1, joined, joined, m.fc1, m.fc1_b);
  rows.Linear(hf.fc2, gguf.fc2, c.out_dim, joined, m.fc2, m.fc2_b);
}

MergerNames HfMerger(const std::string& prefix) {
  return {prefix + ".norm", prefix + ".linear_fc1", prefix + ".linear_fc2"};
}

}  // namespace

std::string HfLayer(size_t layer) { return kText + ("layers." + std::to_string(layer)) + "."; }
std::string GgufLayer(size_t layer) { return "blk." + std::to_string(layer) + "."; }

std::vector<TensorRow> TextRows(const TextConfig& c, TextWeights& w) {
  Rows rows;
  rows.Matrix(kText + std::string("embed_tokens.weight"), "token_embd.weight", c.vocab_size, c.dim, w.embed);
  w.layers.resize(c.n_layers);
  for (size_t i = 0; i < c.n_layers; ++i) TextLayerRows(c, i, w.layers[i], rows);
  rows.Vector(kText + std::string("norm.weight"), "output_norm.weight", {c.dim}, w.final_norm);
  return rows.Take();
}

std::vector<TensorRow> VisionRows(const VisionConfig& c, VisionWeights& w) {
  Rows rows;
  rows.Vector(kVision + std::string("patch_embed.proj.bias"), "v.patch_embd.bias", {c.dim}, w.patch_embed_b);
  rows.Vector(kVision + std::string("pos_embed.weight"), "v.position_embd.weight", {c.n_positions, c.dim},
              w.position_embed);
  w.layers.resize(c.n_layers);
  for (size_t i = 0; i < c.n_layers; ++i) VisionLayerRows(c, i, w.layers[i], rows);
  MergerRows(HfMerger(kVision + std::string("merger")), {"v.post_ln", "mm.0", "mm.2"}, c, c.dim, w.merger,
             rows);
  w.deepstack.resize(c.deepstack_layers.size());
  for (size_t j = 0; j < w.deepstack.size(); ++j) {
    // GGUF numbers these by the absolute block, Hugging Face by their place in the list.
    const std::string gguf = "v.deepstack." + std::to_string(c.deepstack_layers[j]);
    MergerRows(HfMerger(kVision + ("deepstack_merger_list." + std::to_string(j))),
               {gguf + ".norm", gguf + ".fc1", gguf + ".fc2"}, c, c.dim * c.merge_size * c.merge_size,
               w.deepstack[j], rows);
  }
  return rows.Take();
}

}  // namespace qwen3vl
