// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/decoder_layer.h"

#include <algorithm>

#include "hw/checked.h"
#include "qwen3vl/layers.h"

namespace qwen3vl {

using View = hw::MatrixView<float>;
using ConstView = hw::MatrixView<const float>;

void DecoderScratch::Reserve(const TextConfig& c, size_t n) {
  normed.Reserve(hw::CheckedMul(n, c.dim, "activations"));
  q.Reserve(n * c.q_dim());
  k.Reserve(n * c.kv_dim());
  v.Reserve(n * c.kv_dim());
  attended.Reserve(n * c.q_dim());
  if (!c.n_experts) {
    gate.Reserve(n * c.ffn_dim);
    up.Reserve(n * c.ffn_dim);
    return;
  }
  const size_t n_rows = ExpertRows(c, n);
  gate.Reserve(n_rows * c.expert_ffn_dim);
  up.Reserve(n_rows * c.expert_ffn_dim);
  rows.Reserve(n_rows * c.dim);
  mixed.Reserve(n_rows * c.dim);
  router.Reserve(n * c.n_experts);
}

size_t DecoderScratch::ExpertRows(const TextConfig& c, size_t n) {
  // All tokens may come to one expert. A few tokens have all their experts computed at once.
  constexpr size_t kAtOnce = 64;
  return std::min(hw::CheckedMul(n, c.n_experts_used, "activations"), std::max(n, kAtOnce));
}

size_t DecoderScratch::Bytes(const TextConfig& c, size_t n) {
  const size_t per_token =
      c.dim + 2 * c.q_dim() + 2 * c.kv_dim() + (c.n_experts ? c.n_experts : 2 * c.ffn_dim);
  const size_t experts = c.n_experts ? ExpertRows(c, n) * 2 * (c.dim + c.expert_ffn_dim) : 0;
  const size_t floats = hw::CheckedAdd(hw::CheckedMul(n, per_token, "activations"), experts, "activations");
  return hw::CheckedMul(floats, sizeof(float), "activations");
}

void AttentionBlock(const DecoderStep& step, ConstView normed, View out, bool accumulate,
                    DecoderScratch& scratch, Runtime& runtime) {
  const TextConfig& c = *step.config;
  const TextLayerWeights& w = *step.weights;
  const hw::Threads threads = runtime.threads;
  const size_t n = normed.rows;
  const View q(scratch.q.data(), n, c.q_dim());
  const View k(scratch.k.data(), n, c.kv_dim());
  const View v(scratch.v.data(), n, c.kv_dim());
  const LinearOptions plain{.precision = runtime.precision};

  const LinearPart projections[] = {
      {&w.q, normed, q, plain}, {&w.k, normed, k, plain}, {&w.v, normed, v, plain}};
  runtime.Timed("qkv", step.name, [&] { LinearGroup(projections, threads); });
  runtime.Timed("norm+rope", step.name, [&] {
    if (w.q_norm.size()) RmsNormHeads(q, c.n_heads, c.head_dim, w.q_norm.data(), c.norm_eps, threads);
    if (w.k_norm.size()) RmsNormHeads(k, c.n_kv_heads, c.head_dim, w.k_norm.data(), c.norm_eps, threads);
    rope::Rotate(*step.rope, q, c.n_heads, threads);
    rope::Rotate(*step.rope, k, c.n_kv_heads, threads);
  });
  runtime.Timed("cache", step.name, [&] { step.cache->Append(step.index, k, v, threads.count); });

  AttentionCall call;
  call.block = step.name;
  const auto own = runtime.layer_requests.find(step.index);
  call.request = own == runtime.layer_requests.end() ? runtime.request : own->second;
  const attention::KvCacheLayer& layer = step.cache->layer(step.index);
  call.inputs.shape = {.q_len = n,
                       .kv_len = layer.length,
                       .n_heads = c.n_heads,
                       .n_kv_heads = c.n_kv_heads,
                       .head_dim = c.head_dim};
  call.inputs.q = {.data = q.data, .row_stride = q.row_stride, .head_stride = c.head_dim};
  call.inputs.cache = &layer;
  call.inputs.mask = step.mask;
  call.each_alone = step.each_alone;
  call.out = scratch.attended.data();
  call.weights = step.attention_weights;
  runtime.Attend(call);

  runtime.Timed("o", step.name, [&] {
    Linear(w.o, ConstView(scratch.attended.data(), n, c.q_dim()), out,
           {.accumulate = accumulate, .precision = runtime.precision}, threads);
  });
}

namespace {

// y += down(silu(gate(x)) * up(x)).
void DenseMlp(const DecoderStep& step, ConstView x, View y, DecoderScratch& scratch, Runtime& runtime) {
  const TextLayerWeights& w = *step.weights;
  const View gate(scratch.gate.data(), x.rows, step.config->ffn_dim);
  const View up(scratch.up.data(), x.rows, step.config->ffn_dim);
  const hw::Threads threads = runtime.threads;
  const LinearOptions plain{.precision = runtime.precision};
  const LinearPart projections[] = {{&w.gate, x, gate, plain}, {&w.up, x, up, plain}};
  runtime.Timed("mlp gate+up", step.name, [&] {
    LinearGroup(projections, threads);
    SwiGlu(gate, up, threads);
  });
  runtime.Timed("mlp down", step.name, [&] {
    Linear(w.down, gate, y, {.accumulate = true, .precision = runtime.precision}, threads);
  });
}

}  // namespace

void DecoderLayer(const DecoderStep& step, View x, DecoderScratch& scratch, Runtime& runtime) {
  const TextConfig& c = *step.config;
  const TextLayerWeights& w = *step.weights;
  const View normed(scratch.normed.data(), x.rows, c.dim);

  RmsNorm(x, w.attn_norm.data(), c.norm_eps, normed, runtime.threads);
  if (runtime.trace) {  // the trace wants the attention output before the residual sum
    hw::AlignedBuffer<float> attn(x.rows * c.dim);
    AttentionBlock(step, normed, View(attn.data(), x.rows, c.dim), /*accumulate=*/false, scratch, runtime);
    runtime.Trace(step.name + ".attn", {x.rows, c.dim}, attn.data());
    AddScaled(ConstView(attn.data(), x.rows, c.dim), 1.0f, x, runtime.threads);
  } else {
    AttentionBlock(step, normed, x, /*accumulate=*/true, scratch, runtime);
  }

  RmsNorm(x, w.ffn_norm.data(), c.norm_eps, normed, runtime.threads);
  if (c.n_experts) {
    MixtureOfExperts(step, normed, x, scratch, runtime);
  } else {
    DenseMlp(step, normed, x, scratch, runtime);
  }
  runtime.Trace(step.name, {x.rows, c.dim}, x.data);
}

}  // namespace qwen3vl
