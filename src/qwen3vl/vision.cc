// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/vision.h"

#include <algorithm>
#include <cmath>

#include "hw/checked.h"
#include "qwen3vl/layers.h"
#include "rope/rope.h"

namespace qwen3vl {

using View = hw::MatrixView<float>;
using ConstView = hw::MatrixView<const float>;

VisionScratch::VisionScratch(const VisionConfig& c, size_t n_patches)
    : n(n_patches),
      x(hw::CheckedMul(n, c.dim, "vision activations")),
      normed(n * c.dim),
      qkv(hw::CheckedProduct({n, 3, c.dim}, "vision activations")),
      attended(n * c.dim),
      hidden(std::min(n, VisionModel::kRowsAtATime) * c.ffn_dim) {}

namespace {

// Where patch `i` of `n` reads in a table of `side`: the first patch at cell 0, the last at cell side - 1.
struct Sample {
  size_t low, high;
  float fraction;
};

Sample SampleTable(size_t i, size_t n, size_t side) {
  const float at =
      n == 1 ? 0.0f : static_cast<float>(i) * static_cast<float>(side - 1) / static_cast<float>(n - 1);
  const size_t low = std::min(static_cast<size_t>(at), side - 1);
  return {low, std::min(low + 1, side - 1), at - static_cast<float>(low)};
}

// Boundaries of what may attend to each other: one temporal group of one picture or clip.
std::vector<size_t> Segments(std::span<const rope::Grid> grids) {
  std::vector<size_t> out{0};
  for (const rope::Grid& g : grids)
    for (size_t t = 0; t < g.t; ++t) out.push_back(out.back() + g.h * g.w);
  return out;
}

}  // namespace

void AddPositionEmbedding(std::span<const float> table, size_t dim, std::span<const rope::Grid> grids,
                          size_t merge_size, View x, hw::Threads threads) {
  const size_t side = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(table.size() / dim))));
  const std::vector<rope::Position> at = rope::PatchPositions(grids, merge_size);
  size_t first = 0;
  for (const rope::Grid& grid : grids) {
    const size_t count = grid.t * grid.h * grid.w;
    hw::ParallelFor(threads, count, [&](size_t i, size_t) {
      const rope::Position& p = at[first + i];
      const Sample y = SampleTable(static_cast<size_t>(p.h), grid.h, side),
                   c = SampleTable(static_cast<size_t>(p.w), grid.w, side);
      const float w00 = (1 - y.fraction) * (1 - c.fraction), w01 = (1 - y.fraction) * c.fraction;
      const float w10 = y.fraction * (1 - c.fraction), w11 = y.fraction * c.fraction;
      const float *e00 = &table[(y.low * side + c.low) * dim], *e01 = &table[(y.low * side + c.high) * dim];
      const float *e10 = &table[(y.high * side + c.low) * dim], *e11 = &table[(y.high * side + c.high) * dim];
      float* row = x.row(first + i);
      for (size_t d = 0; d < dim; ++d) row[d] += w00 * e00[d] + w01 * e01[d] + w10 * e10[d] + w11 * e11[d];
    });
    first += count;
  }
}

void VisionModel::EmbedPatches(std::span<const float> patches, std::span<const rope::Grid> grids,
                               const std::string& prefix, VisionScratch& s, Runtime& runtime) const {
  const ConstView in(patches.data(), s.n, config_.patch_dim());
  const View x(s.x.data(), s.n, config_.dim);
  runtime.Timed("patch embed", "", [&] {
    Linear(weights_.patch_embed, in, x,
           {.bias = weights_.patch_embed_b.data(), .precision = runtime.precision}, runtime.threads);
  });
  const std::span<const float> table = weights_.position_embed.span();
  if (runtime.trace) {
    runtime.Trace(prefix + ".patch_embed", {s.n, config_.dim}, s.x.data());
    auto alone = hw::AlignedBuffer<float>::Zeroed(s.n * config_.dim);
    AddPositionEmbedding(table, config_.dim, grids, config_.merge_size, View(alone.data(), s.n, config_.dim),
                         runtime.threads);
    runtime.Trace(prefix + ".pos_embed", {s.n, config_.dim}, alone.data());
  }
  AddPositionEmbedding(table, config_.dim, grids, config_.merge_size, x, runtime.threads);
}

void VisionModel::Block(size_t index, const std::string& name, const rope::RopeTable& rope,
                        std::span<const size_t> segments, VisionScratch& s, Runtime& runtime) const {
  const VisionLayerWeights& w = weights_.layers[index];
  const hw::Threads threads = runtime.threads;
  const size_t dim = config_.dim, head_dim = config_.head_dim();
  const View x(s.x.data(), s.n, dim), normed(s.normed.data(), s.n, dim), qkv(s.qkv.data(), s.n, 3 * dim);
  const Precision precision = runtime.precision;

  LayerNorm(x, w.norm1_w.data(), w.norm1_b.data(), config_.norm_eps, normed, threads);
  runtime.Timed("qkv", name, [&] {
    Linear(w.qkv, normed, qkv, {.bias = w.qkv_b.data(), .precision = precision}, threads);
  });
  runtime.Timed("rope", name, [&] {
    rope::Rotate(rope, qkv.Cols(0, dim), config_.n_heads, threads);
    rope::Rotate(rope, qkv.Cols(dim, dim), config_.n_heads, threads);
  });

  AttentionCall call;
  call.block = name;
  call.request = runtime.request;
  call.inputs.shape = {.q_len = s.n,
                       .kv_len = s.n,
                       .n_heads = config_.n_heads,
                       .n_kv_heads = config_.n_heads,
                       .head_dim = head_dim};
  call.inputs.q = {.data = qkv.data, .row_stride = 3 * dim, .head_stride = head_dim};
  call.inputs.k = {.data = qkv.data + dim, .row_stride = 3 * dim, .head_stride = head_dim};
  call.inputs.v = {.data = qkv.data + 2 * dim, .row_stride = 3 * dim, .head_stride = head_dim};
  call.inputs.mask.segments = segments;
  call.weights_format = w.qkv.format;
  call.out = s.attended.data();
  runtime.Attend(call);
  runtime.Timed("proj", name, [&] {
    Linear(w.proj, ConstView(s.attended.data(), s.n, dim), x,
           {.bias = w.proj_b.data(), .accumulate = true, .precision = precision}, threads);
  });

  LayerNorm(x, w.norm2_w.data(), w.norm2_b.data(), config_.norm_eps, normed, threads);
  for (size_t begin = 0; begin < s.n; begin += kRowsAtATime) {
    const size_t rows = std::min(kRowsAtATime, s.n - begin);
    const View hidden(s.hidden.data(), rows, config_.ffn_dim);
    runtime.Timed("mlp fc1", name, [&] {
      Linear(w.fc1, normed.Rows(begin, rows), hidden, {.bias = w.fc1_b.data(), .precision = precision},
             threads);
      GeluTanh(hidden, threads);
    });
    runtime.Timed("mlp fc2", name, [&] {
      Linear(w.fc2, hidden, x.Rows(begin, rows),
             {.bias = w.fc2_b.data(), .accumulate = true, .precision = precision}, threads);
    });
  }
}

void VisionModel::Merge(const MergerWeights& w, bool norm_before_concat, const VisionScratch& s, float* out,
                        Runtime& runtime) const {
  // Patches arrive in 2 x 2 blocks, so joining four rows is only another way to look at the same memory.
  const size_t joined = config_.merge_size * config_.merge_size;
  const size_t wide = joined * config_.dim, n_tokens = s.n / joined;
  const hw::Threads threads = runtime.threads;
  for (size_t begin = 0; begin < n_tokens; begin += kRowsAtATime / joined) {
    const size_t rows = std::min(kRowsAtATime / joined, n_tokens - begin);
    hw::AlignedBuffer<float> normed(rows * wide), hidden(rows * wide);
    const float* x = s.x.data() + begin * wide;
    if (norm_before_concat) {
      LayerNorm(ConstView(x, rows * joined, config_.dim), w.norm_w.data(), w.norm_b.data(), config_.norm_eps,
                View(normed.data(), rows * joined, config_.dim), threads);
    } else {
      LayerNorm(ConstView(x, rows, wide), w.norm_w.data(), w.norm_b.data(), config_.norm_eps,
                View(normed.data(), rows, wide), threads);
    }
    const View h(hidden.data(), rows, wide);
    runtime.Timed("merger", "", [&] {
      Linear(w.fc1, ConstView(normed.data(), rows, wide), h,
             {.bias = w.fc1_b.data(), .precision = runtime.precision}, threads);
      GeluErf(h, threads);
      Linear(w.fc2, h, View(out + begin * config_.out_dim, rows, config_.out_dim),
             {.bias = w.fc2_b.data(), .precision = runtime.precision}, threads);
    });
  }
}

void VisionModel::RunBlocks(const VisionStep& step, VisionScratch& s, VisualFeatures& features,
                            Runtime& runtime) const {
  for (size_t i = 0; i < config_.n_layers; ++i) {
    const std::string name = step.prefix + ".block." + std::to_string(i);
    Block(i, name, *step.rope, step.segments, s, runtime);
    runtime.Trace(name, {s.n, config_.dim}, s.x.data());
    const auto deep = std::ranges::find(config_.deepstack_layers, i);
    if (deep != config_.deepstack_layers.end()) {
      const size_t j = static_cast<size_t>(deep - config_.deepstack_layers.begin());
      Merge(weights_.deepstack[j], /*norm_before_concat=*/false, s, features.deepstack[j].data(), runtime);
    }
    step.on_block(i + 1);
  }
  Merge(weights_.merger, /*norm_before_concat=*/true, s, features.main.data(), runtime);
}

VisualFeatures VisionModel::Encode(std::span<const float> patches, std::span<const rope::Grid> grids,
                                   const std::string& prefix, const std::function<void(size_t)>& on_block,
                                   Runtime& runtime) const {
  VisionScratch s(config_, patches.size() / config_.patch_dim());
  EmbedPatches(patches, grids, prefix, s, runtime);
  const std::vector<rope::Position> at = rope::PatchPositions(grids, config_.merge_size);
  const rope::RopeTable rope = rope::RopeTable::Vision(at, config_.head_dim());
  if (runtime.trace) {
    const std::vector<float> angles = rope::VisionAngles(at, config_.head_dim());
    runtime.Trace(prefix + ".rope_angles", {s.n, config_.head_dim() / 2}, angles.data());
  }
  VisualFeatures features;
  features.n_tokens = s.n / (config_.merge_size * config_.merge_size);
  features.dim = config_.out_dim;
  const size_t n_values = hw::CheckedMul(features.n_tokens, features.dim, "image features");
  features.main = hw::AlignedBuffer<float>(n_values);
  for (size_t j = 0; j < config_.deepstack_layers.size(); ++j) features.deepstack.emplace_back(n_values);

  const std::vector<size_t> segments = Segments(grids);
  const VisionStep step{.x = View(s.x.data(), s.n, config_.dim),
                        .rope = &rope,
                        .segments = segments,
                        .prefix = prefix,
                        .on_block = on_block};
  if (!gpu_ || !gpu_->Encode(step, features, runtime)) RunBlocks(step, s, features, runtime);
  for (size_t j = 0; j < features.deepstack.size(); ++j)
    runtime.Trace(prefix + ".deepstack." + std::to_string(j), {features.n_tokens, features.dim},
                  features.deepstack[j].data());
  runtime.Trace(prefix + ".merger", {features.n_tokens, features.dim}, features.main.data());
  return features;
}

size_t VisionModel::ScratchBytes(const VisionConfig& c, size_t n) {
  const size_t rows = hw::CheckedProduct({n, c.patch_dim() + 6 * c.dim, sizeof(float)}, "vision activations");
  const size_t merged =
      n / (c.merge_size * c.merge_size) * (1 + c.deepstack_layers.size()) * c.out_dim * sizeof(float);
  return rows + merged + std::min(n, kRowsAtATime) * (c.ffn_dim + 2 * c.dim) * sizeof(float);
}

}  // namespace qwen3vl
