// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/device_decoder.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "attention/attention.h"
#include "qwen3vl/cuda/device_address.h"

namespace qwen3vl {
namespace {

using Formats = std::set<gpu::WeightFormat>;

// Of the products that all tokens go through.
Formats FormatsOf(const DecoderMemory& memory, bool mixture) {
  Formats formats;
  for (const PlacedLayer& l : memory.layers) {
    for (const PlacedWeight* w : {&l.q, &l.k, &l.v, &l.o}) formats.insert(w->layout.format);
    if (mixture)
      formats.insert(l.router.layout.format);
    else
      for (const PlacedWeight* w : {&l.gate, &l.up, &l.down}) formats.insert(w->layout.format);
  }
  return formats;
}

Formats ExpertFormatsOf(const DecoderMemory& memory) {
  Formats formats;
  for (const PlacedLayer& l : memory.layers)
    for (const PlacedWeight* w : {&l.gate, &l.up, &l.down}) formats.insert(w->layout.format);
  return formats;
}

}  // namespace

DeviceDecoder::DeviceDecoder(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code,
                             const TextConfig& config, const TextWeights& weights, const DecoderPart& part)
    : device_(std::move(device)),
      config_(config),
      range_(part.range),
      kv_(part.kv),
      memory_(
          PlaceDecoder(config, weights, part.range, part.kv, part.max_rows, device_->info().multiprocessors)),
      kernels_(device_, code.layers, FormatsOf(memory_, config.n_experts != 0), part.kv.format),
      attention_(LoadAttention(*device_, code, memory_.head_dim, memory_.kv_format, part.scores)),
      weights_(device_->context(), memory_.weight_bytes),
      cache_(device_->context(), memory_.kv_bytes),
      activations_(device_->context(), memory_.activation_bytes) {
  if (config.n_experts) experts_.emplace(device_, code.layers, ExpertFormatsOf(memory_));
  // Hidden rows of a tile are read and weighted with zero: they must hold numbers.
  cache_.Clear();
  UploadWeights(weights);
}

void DeviceDecoder::UploadWeights(const TextWeights& weights) {
  const auto upload = [&](const Vector& v, size_t at) { weights_.Upload(at, v.data(), v.bytes()); };
  const auto matrix = [&](const Weight& w, const PlacedWeight& at) { UploadMatrix(w, at, weights_); };
  const auto experts = [&](const std::vector<Weight>& all, PlacedWeight at) {
    for (const Weight& w : all) {
      matrix(w, at);
      at.at += at.layout.bytes();
    }
  };
  for (size_t i = 0; i < range_.size(); ++i) {
    const TextLayerWeights& w = weights.layers[range_.first + i];
    const PlacedLayer& placed = memory_.layers[i];
    matrix(w.q, placed.q);
    matrix(w.k, placed.k);
    matrix(w.v, placed.v);
    matrix(w.o, placed.o);
    if (config_.n_experts) {
      matrix(w.router, placed.router);
      experts(w.expert_gate, placed.gate);
      experts(w.expert_up, placed.up);
      experts(w.expert_down, placed.down);
    } else {
      matrix(w.gate, placed.gate);
      matrix(w.up, placed.up);
      matrix(w.down, placed.down);
    }
    upload(w.attn_norm, placed.attn_norm);
    upload(w.ffn_norm, placed.ffn_norm);
    if (placed.q_norm) upload(w.q_norm, *placed.q_norm);
    if (placed.k_norm) upload(w.k_norm, *placed.k_norm);
  }
}

hw::CudaAddress DeviceDecoder::Staged(size_t slot, size_t n, bool values) const {
  return act(memory_.at.staged) + (2 * slot + (values ? 1 : 0)) * n * config_.kv_dim() * sizeof(float);
}

void DeviceDecoder::UploadChunk(const LayersStep& step, const Chunk& chunk) {
  const PlacedActivations& at = memory_.at;
  const size_t half = config_.head_dim / 2;
  activations_.Upload(at.x, step.x.row(chunk.begin), chunk.n * config_.dim * sizeof(float));
  activations_.Upload(at.cos, step.rope->cos(chunk.begin), chunk.n * half * sizeof(float));
  activations_.Upload(at.sin, step.rope->sin(chunk.begin), chunk.n * half * sizeof(float));
  seen_.resize(chunk.n);
  for (size_t i = 0; i < chunk.n; ++i) seen_[i] = {0, Count(chunk.pos + i + 1)};
  activations_.Upload(at.seen, seen_.data(), chunk.n * sizeof(gpu::SeenRange));
}

DeviceRows DeviceDecoder::RowsAt(hw::CudaAddress x, size_t n, size_t cols) const {
  const PlacedActivations& at = memory_.at;
  return {
      .x = x, .codes = act(at.codes), .scales = act(at.scales), .sums = act(at.sums), .n = n, .cols = cols};
}

void DeviceDecoder::Products(std::span<const DeviceProduct> parts, hw::CudaAddress x, size_t n, size_t cols) {
  kernels_.Products(parts, weights_.address(), RowsAt(x, n, cols));
}

void DeviceDecoder::Keep(size_t index, const Chunk& chunk, hw::CudaAddress rows, bool values) {
  const size_t each = memory_.kv_rows_bytes + memory_.kv_scale_bytes;
  const hw::CudaAddress to = cache_.address() + (2 * (index - range_.first) + (values ? 1 : 0)) * each;
  kernels_.Keep({.x = At<float>(rows),
                 .rows = At<void>(to),
                 .scales = At<unsigned short>(to + memory_.kv_rows_bytes),
                 .heads = Count(config_.n_kv_heads),
                 .head_dim = Count(config_.head_dim),
                 .columns = memory_.head_dim,
                 .capacity = Count(kv_.capacity),
                 .first = Count(chunk.pos)},
                chunk.n);
}

void DeviceDecoder::Attend(size_t index, const LayersStep& step, const Chunk& chunk, size_t first) {
  const PlacedActivations& at = memory_.at;
  attention::Inputs in;
  in.shape = {.q_len = chunk.n,
              .kv_len = chunk.pos + chunk.n,
              .n_heads = config_.n_heads,
              .n_kv_heads = config_.n_kv_heads,
              .head_dim = config_.head_dim};
  in.cache = &step.cache->layer(index);  // its format
  const attention::CudaProblem problem = MakeCudaProblem(in, device_->info().multiprocessors);
  gpu::AttentionParams p = ParamsOf(in, problem);
  p.kv_len = Count(kv_.capacity);  // rows of each head; what is seen ends before
  const size_t each = memory_.kv_rows_bytes + memory_.kv_scale_bytes;
  const hw::CudaAddress k = cache_.address() + 2 * (index - range_.first) * each, v = k + each;
  const size_t begin = first * config_.n_heads * memory_.head_dim * sizeof(float);
  p.q = At<float>(act(at.q_wide) + begin);
  p.k = At<void>(k);
  p.v = At<void>(v);
  p.k_scales = At<unsigned short>(k + memory_.kv_rows_bytes);
  p.v_scales = At<unsigned short>(v + memory_.kv_rows_bytes);
  p.seen = At<gpu::SeenRange>(act(at.seen) + first * sizeof(gpu::SeenRange));
  p.out = At<float>(act(at.attended) + begin);
  p.stats = At<float>(act(at.stats));
  p.partial = At<float>(act(at.partial));
  p.partial_stats = At<float>(act(at.partial_stats));
  StartAttention(*device_, attention_, in.shape, problem, p);
}

void DeviceDecoder::Attention(const PlacedLayer& layer, size_t index, const LayersStep& step,
                              const Chunk& chunk, size_t slot) {
  const PlacedActivations& at = memory_.at;
  const hw::CudaAddress k = Staged(slot, chunk.n, /*values=*/false), v = Staged(slot, chunk.n, true);
  const DeviceProduct projections[] = {{&layer.q, act(at.q)}, {&layer.k, k}, {&layer.v, v}};
  Products(projections, act(at.normed), chunk.n, config_.dim);
  const auto heads = [&](hw::CudaAddress x, size_t n_heads, std::optional<size_t> norm, hw::CudaAddress y,
                         size_t columns) {
    kernels_.Heads({.x = At<float>(x),
                    .weight = norm ? At<float>(weights_.address() + *norm) : nullptr,
                    .cos = At<float>(act(at.cos)),
                    .sin = At<float>(act(at.sin)),
                    .y = At<float>(y),
                    .heads = Count(n_heads),
                    .head_dim = Count(config_.head_dim),
                    .columns = Count(columns),
                    .eps = config_.norm_eps},
                   chunk.n);
  };
  heads(act(at.q), config_.n_heads, layer.q_norm, act(at.q_wide), memory_.head_dim);
  heads(k, config_.n_kv_heads, layer.k_norm, k, config_.head_dim);
  Keep(index, chunk, k, /*values=*/false);
  Keep(index, chunk, v, /*values=*/true);
  // Products of a few rows and all that goes row by row give each the same bits as alone. Attention splits
  // the keys by how many there are.
  if (step.each_alone)
    for (size_t i = 0; i < chunk.n; ++i) Attend(index, step, {chunk.begin + i, 1, chunk.pos + i}, i);
  else
    Attend(index, step, chunk, 0);
  if (memory_.head_dim != config_.head_dim)
    kernels_.Narrow({.x = At<float>(act(at.attended)),
                     .y = At<float>(act(at.attended_narrow)),
                     .columns = memory_.head_dim,
                     .head_dim = Count(config_.head_dim),
                     .count = Count(chunk.n * config_.q_dim())});
  const DeviceProduct output[] = {{&layer.o, act(at.x), /*accumulate=*/true}};
  Products(output, act(at.attended_narrow), chunk.n, config_.q_dim());
}

void DeviceDecoder::Mlp(const PlacedLayer& layer, size_t n) {
  const PlacedActivations& at = memory_.at;
  const DeviceProduct up[] = {{&layer.gate, act(at.gate)}, {&layer.up, act(at.up)}};
  Products(up, act(at.normed), n, config_.dim);
  kernels_.SwiGlu(
      {.gate = At<float>(act(at.gate)), .up = At<float>(act(at.up)), .count = Count(n * config_.ffn_dim)});
  const DeviceProduct down[] = {{&layer.down, act(at.x), /*accumulate=*/true}};
  Products(down, act(at.gate), n, config_.ffn_dim);
}

void DeviceDecoder::ExpertProducts(std::span<const DeviceProduct> parts, const DevicePairs& pairs,
                                   const DeviceRows& rows) {
  if (std::ranges::any_of(parts, &DeviceProduct::has_codes)) kernels_.Quantize(rows);
  for (const DeviceProduct& part : parts) experts_->Product(part, weights_.address(), rows, pairs);
}

void DeviceDecoder::Experts(const PlacedLayer& layer, size_t n) {
  const PlacedActivations& at = memory_.at;
  const DevicePairs pairs{.experts = act(at.experts),
                          .weights = act(at.expert_weights),
                          .order = act(at.order),
                          .tiles = act(at.tiles),
                          .n_tokens = n,
                          .n_experts = config_.n_experts,
                          .used = config_.n_experts_used};
  const DeviceProduct router[] = {{&layer.router, act(at.logits)}};
  Products(router, act(at.normed), n, config_.dim);
  experts_->Route(act(at.logits), pairs);
  const DeviceProduct up[] = {{&layer.gate, act(at.gate)}, {&layer.up, act(at.up)}};
  ExpertProducts(up, pairs, RowsAt(act(at.normed), n, config_.dim));
  kernels_.SwiGlu({.gate = At<float>(act(at.gate)),
                   .up = At<float>(act(at.up)),
                   .count = Count(pairs.n() * config_.expert_ffn_dim)});
  const DeviceProduct down[] = {{&layer.down, act(at.mixed)}};
  ExpertProducts(down, pairs, RowsAt(act(at.gate), pairs.n(), config_.expert_ffn_dim));
  experts_->Mix(act(at.mixed), pairs, act(at.x), config_.dim);
}

void DeviceDecoder::AddFeatures(size_t index, const LayersStep& step, const Chunk& chunk) {
  std::vector<unsigned> tokens;
  features_.Reserve(chunk.n * config_.dim);
  for (const VisualRow& v : step.visual) {
    if (v.token < chunk.begin || v.token >= chunk.begin + chunk.n) continue;
    std::copy_n(v.features->deepstack_row(index, v.row), config_.dim,
                features_.data() + tokens.size() * config_.dim);
    tokens.push_back(Count(v.token - chunk.begin));
  }
  if (tokens.empty()) return;
  const PlacedActivations& at = memory_.at;
  activations_.Upload(at.features, features_.data(), tokens.size() * config_.dim * sizeof(float));
  activations_.Upload(at.feature_rows, tokens.data(), tokens.size() * sizeof(unsigned));
  kernels_.AddRows({.rows = At<float>(act(at.features)),
                    .at = At<unsigned>(act(at.feature_rows)),
                    .x = At<float>(act(at.x)),
                    .cols = Count(config_.dim)},
                   tokens.size());
}

void DeviceDecoder::RunLayer(size_t index, const LayersStep& step, const Chunk& chunk, size_t slot) {
  const PlacedLayer& layer = memory_.layers[index - range_.first];
  const PlacedActivations& at = memory_.at;
  const auto norm = [&](size_t weight) {
    kernels_.RmsNorm({.x = At<float>(act(at.x)),
                      .weight = At<float>(weights_.address() + weight),
                      .y = At<float>(act(at.normed)),
                      .cols = Count(config_.dim),
                      .eps = config_.norm_eps},
                     chunk.n);
  };
  norm(layer.attn_norm);
  Attention(layer, index, step, chunk, slot);
  norm(layer.ffn_norm);
  if (config_.n_experts)
    Experts(layer, chunk.n);
  else
    Mlp(layer, chunk.n);
  if (index < step.n_deepstack) AddFeatures(index, step, chunk);
}

// New keys and values of these layers to staged_.
void DeviceDecoder::Fetch(const Chunk& chunk, LayerRange layers) {
  device_->Wait("decoder layers " + std::to_string(layers.first) + " to " + std::to_string(layers.end - 1));
  const size_t values = 2 * layers.size() * chunk.n * config_.kv_dim();
  staged_.Reserve(values);
  activations_.Download(staged_.data(), memory_.at.staged, values * sizeof(float));
}

// From staged_ to the cache in main memory.
void DeviceDecoder::Store(const LayersStep& step, const Chunk& chunk, LayerRange layers) const {
  const size_t each = chunk.n * config_.kv_dim();
  for (size_t i = 0; i < layers.size(); ++i) {
    const float* k = staged_.data() + 2 * i * each;
    const float* v = k + each;
    // The kernels would spread it to rows that do not see it.
    if (!std::all_of(v, v + each, [](float x) { return std::isfinite(x); }))
      throw Error(ErrorCode::kUnsupported,
                  "text.layer." + std::to_string(layers.first + i) + ": a value is not finite");
    step.cache->Append(layers.first + i, {k, chunk.n, config_.kv_dim()}, {v, chunk.n, config_.kv_dim()});
  }
}

void DeviceDecoder::RepeatLayer(const LayersStep& step, size_t times) {
  const Chunk chunk{0, step.x.rows, step.cache->layer(range_.first).length};
  UploadChunk(step, chunk);
  for (size_t i = 0; i < times; ++i) RunLayer(range_.first, step, chunk, /*slot=*/0);
  device_->Wait("decoder layer " + std::to_string(range_.first));
}

void DeviceDecoder::Run(const LayersStep& step, LayerRange part, const Runtime& runtime) {
  x_.Reserve(step.x.rows * config_.dim);
  const size_t before = step.cache->layer(part.first).length;
  for (size_t begin = 0; begin < step.x.rows; begin += memory_.at.max_rows) {
    const Chunk chunk{begin, std::min(memory_.at.max_rows, step.x.rows - begin), before + begin};
    const size_t slots = memory_.at.staged_rows / chunk.n;
    UploadChunk(step, chunk);
    LayerRange fetched{part.first, part.first};
    for (size_t i = part.first; i < part.end; ++i) {
      RunLayer(i, step, chunk, i - fetched.end);
      if (i + 1 - fetched.end < slots && i + 1 < part.end) continue;
      Store(step, chunk, fetched);  // while the device works on the next ones
      fetched = {fetched.end, i + 1};
      Fetch(chunk, fetched);
      runtime.CheckCancelled();
    }
    activations_.Download(x_.data() + begin * config_.dim, memory_.at.x,
                          chunk.n * config_.dim * sizeof(float));
    Store(step, chunk, fetched);
  }
  const float *begin = x_.data(), *end = begin + step.x.rows * config_.dim;
  if (runtime.check_finite && !std::all_of(begin, end, [](float x) { return std::isfinite(x); }))
    throw Error(ErrorCode::kUnsupported, "a hidden state is not finite");
  for (size_t r = 0; r < step.x.rows; ++r)
    std::copy_n(x_.data() + r * config_.dim, config_.dim, step.x.row(r));
}

}  // namespace qwen3vl
