// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/text.h"

#include <algorithm>

#include "hw/checked.h"
#include "qwen3vl/layers.h"
#include "qwen3vl/quant.h"

namespace qwen3vl {

using View = hw::MatrixView<float>;

namespace {

// A trace has cos and sin [n, head_dim], the second half a copy of the first.
void TraceRope(const rope::RopeTable& rope, const Runtime& runtime) {
  const size_t half = rope.half();
  for (const bool sine : {false, true}) {
    std::vector<float> wide(rope.size() * 2 * half);
    for (size_t i = 0; i < rope.size(); ++i)
      for (size_t copy = 0; copy < 2; ++copy)
        std::copy_n(sine ? rope.sin(i) : rope.cos(i), half, &wide[(2 * i + copy) * half]);
    runtime.Trace(sine ? "text.rope_sin" : "text.rope_cos", {rope.size(), 2 * half}, wide.data());
  }
}

}  // namespace

void TextModel::Embed(const TextChunk& chunk, View x) const {
  for (size_t i = 0; i < chunk.ids.size(); ++i)
    DequantizeRow(weights_.embed.format, weights_.embed.row(static_cast<size_t>(chunk.ids[i])), config_.dim,
                  x.row(i));
  for (const VisualRow& v : chunk.visual)
    std::copy_n(v.features->main_row(v.row), config_.dim, x.row(v.token));
}

void TextModel::RunLayer(size_t i, const LayersStep& layers, DecoderStep& step, Runtime& runtime) {
  step.weights = &weights_.layers[i];
  step.index = i;
  step.name = "text.layer." + std::to_string(i);
  DecoderLayer(step, layers.x, scratch_, runtime);
  if (i >= layers.n_deepstack) return;
  for (const VisualRow& v : layers.visual) {
    const hw::MatrixView<const float> feature(v.features->deepstack_row(i, v.row), 1, config_.dim);
    AddScaled(feature, 1.0f, layers.x.Rows(v.token, 1), hw::Threads{1});
  }
  runtime.Trace(step.name + ".with_deepstack", {layers.x.rows, config_.dim}, layers.x.data);
}

size_t TextModel::RunLayers(size_t i, const LayersStep& layers, DecoderStep& step, Runtime& runtime) {
  if (gpu_ && i >= gpu_->first() && i < gpu_->end()) {
    const size_t end = runtime.trace ? i + 1 : gpu_->end();  // a trace sees every layer's result
    if (gpu_->Run(layers, i, end, runtime)) {
      runtime.Trace("text.layer." + std::to_string(i) + (i < layers.n_deepstack ? ".with_deepstack" : ""),
                    {layers.x.rows, config_.dim}, layers.x.data);
      return end;
    }
    gpu_.reset();
  }
  RunLayer(i, layers, step, runtime);
  return i + 1;
}

std::span<const float> TextModel::Forward(const TextChunk& chunk, attention::KvCache& cache, LogitsOf wanted,
                                          Runtime& runtime) {
  const size_t n = chunk.ids.size();
  x_.Reserve(hw::CheckedMul(n, config_.dim, "activations"));
  scratch_.Reserve(config_, n);
  const View x(x_.data(), n, config_.dim);
  Embed(chunk, x);
  runtime.Trace("text.inputs_embeds", {n, config_.dim}, x.data);

  const rope::RopeTable rope =
      rope::RopeTable::Text(chunk.positions, config_.head_dim, config_.rope_theta, config_.mrope_section);
  if (runtime.trace) TraceRope(rope, runtime);
  DecoderStep step{.config = &config_, .rope = &rope, .cache = &cache};
  step.mask.causal = true;
  step.each_alone = chunk.each_alone;
  const LayersStep layers{.x = x,
                          .rope = &rope,
                          .cache = &cache,
                          .visual = chunk.visual,
                          .n_deepstack = chunk.n_deepstack,
                          .each_alone = chunk.each_alone};
  for (size_t i = 0; i < config_.n_layers;) i = RunLayers(i, layers, step, runtime);
  if (wanted == LogitsOf::kNone) return {};

  const View last = wanted == LogitsOf::kAllTokens ? x : x.Rows(n - 1, 1);
  RmsNorm(last, weights_.final_norm.data(), config_.norm_eps, last, runtime.threads);
  runtime.Trace("text.final_norm", {last.rows, config_.dim}, last.data);
  logits_.Reserve(hw::CheckedMul(last.rows, config_.vocab_size, "logits"));
  const View logits(logits_.data(), last.rows, config_.vocab_size);
  runtime.Timed("logits", "", [&] {
    if (gpu_ && gpu_->Logits(last, logits, runtime)) return;
    Linear(weights_.output, last, logits, {.precision = runtime.precision}, runtime.threads);
  });
  runtime.Trace("logits", {logits.rows, config_.vocab_size}, logits.data);
  return {logits.data, logits.rows * logits.cols};
}

size_t TextModel::LayerScratchBytes(const TextConfig& config, size_t n_tokens) {
  const size_t rows = hw::CheckedProduct({n_tokens, config.dim, sizeof(float)}, "activations");
  return rows + DecoderScratch::Bytes(config, n_tokens);
}

size_t TextModel::ScratchBytes(const TextConfig& config, size_t n_tokens) {
  return LayerScratchBytes(config, n_tokens) + kMaxEachAlone * config.vocab_size * sizeof(float);
}

}  // namespace qwen3vl
