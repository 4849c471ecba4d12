// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/device_vision.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "qwen3vl/cuda/device_address.h"

namespace qwen3vl {
namespace {

std::set<gpu::WeightFormat> FormatsOf(const VisionWeightPlaces& placed) {
  std::set<gpu::WeightFormat> formats;
  const auto add = [&](std::initializer_list<const PlacedWeight*> weights) {
    for (const PlacedWeight* w : weights) formats.insert(w->layout.format);
  };
  for (const PlacedVisionLayer& l : placed.layers) add({&l.qkv, &l.proj, &l.fc1, &l.fc2});
  for (const PlacedMerger& m : placed.deepstack) add({&m.fc1, &m.fc2});
  add({&placed.merger.fc1, &placed.merger.fc2});
  return formats;
}

bool IsFinite(const hw::AlignedBuffer<float>& values) {
  return std::ranges::all_of(values.span(), [](float x) { return std::isfinite(x); });
}

}  // namespace

DeviceVision::DeviceVision(std::shared_ptr<const hw::CudaDevice> device, const GpuCode& code,
                           const VisionConfig& config, const VisionWeights& weights, size_t max_patches,
                           gpu::ScoreType scores)
    : device_(std::move(device)),
      config_(config),
      placed_(PlaceVisionWeights(weights)),
      layer_kernels_(device_, code.layers, FormatsOf(placed_), hw::Format::kF32),
      kernels_(device_, code.layers),
      attention_(LoadAttention(*device_, code, DeviceHeadDim(config), gpu::KvFormat::kF32, scores)),
      weights_(device_->context(), placed_.bytes) {
  MakeRoomFor(max_patches);
  UploadWeights(weights);
}

void DeviceVision::UploadWeights(const VisionWeights& weights) {
  const auto vector = [&](const Vector& v, size_t at) { weights_.Upload(at, v.data(), v.bytes()); };
  const auto norm = [&](const Vector& weight, const Vector& bias, const PlacedNorm& at) {
    vector(weight, at.weight);
    vector(bias, at.bias);
  };
  const auto linear = [&](const Weight& weight, const Vector& bias, const PlacedWeight& at) {
    UploadMatrix(weight, at, weights_);
    vector(bias, *at.bias);
  };
  const auto merger = [&](const MergerWeights& w, const PlacedMerger& at) {
    norm(w.norm_w, w.norm_b, at.norm);
    linear(w.fc1, w.fc1_b, at.fc1);
    linear(w.fc2, w.fc2_b, at.fc2);
  };
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const VisionLayerWeights& w = weights.layers[i];
    const PlacedVisionLayer& at = placed_.layers[i];
    norm(w.norm1_w, w.norm1_b, at.norm1);
    norm(w.norm2_w, w.norm2_b, at.norm2);
    linear(w.qkv, w.qkv_b, at.qkv);
    linear(w.proj, w.proj_b, at.proj);
    linear(w.fc1, w.fc1_b, at.fc1);
    linear(w.fc2, w.fc2_b, at.fc2);
  }
  merger(weights.merger, placed_.merger);
  for (size_t j = 0; j < weights.deepstack.size(); ++j) merger(weights.deepstack[j], placed_.deepstack[j]);
}

void DeviceVision::MakeRoomFor(size_t patches) {
  if (patches <= at_.max_patches) return;
  activations_ = {};  // first, for the device may not hold both
  at_ = {};
  const VisionActivationPlaces at = PlaceVisionActivations(config_, patches, device_->info().multiprocessors);
  activations_ = hw::CudaBuffer(device_->context(), at.bytes);
  at_ = at;
}

std::vector<DeviceVision::Group> DeviceVision::Split(const VisionStep& step) {
  const std::span<const size_t> borders = step.segments;
  size_t largest = 0;
  for (size_t i = 1; i < borders.size(); ++i) largest = std::max(largest, borders[i] - borders[i - 1]);
  MakeRoomFor(largest);
  std::vector<Group> groups;
  for (size_t first = 0; first + 1 < borders.size();) {
    size_t last = first + 1;
    while (last + 1 < borders.size() && borders[last + 1] - borders[first] <= at_.max_patches) ++last;
    groups.push_back(
        {borders[first], borders[last] - borders[first], borders.subspan(first, last - first + 1)});
    first = last;
  }
  return groups;
}

void DeviceVision::UploadGroup(const VisionStep& step, const Group& group) {
  const size_t half = config_.head_dim() / 2;
  activations_.Upload(at_.x, step.x.row(group.begin), group.n * config_.dim * sizeof(float));
  activations_.Upload(at_.cos, step.rope->cos(group.begin), group.n * half * sizeof(float));
  activations_.Upload(at_.sin, step.rope->sin(group.begin), group.n * half * sizeof(float));
  std::vector<gpu::SeenRange> seen;
  for (size_t i = 1; i < group.borders.size(); ++i) {
    const size_t begin = group.borders[i - 1] - group.begin, end = group.borders[i] - group.begin;
    seen.insert(seen.end(), end - begin, {Count(begin), Count(end)});
  }
  activations_.Upload(at_.seen, seen.data(), seen.size() * sizeof(gpu::SeenRange));
}

void DeviceVision::LayerNorm(const PlacedNorm& norm, hw::CudaAddress x, size_t rows, size_t cols) {
  kernels_.LayerNorm({.x = At<float>(x),
                      .weight = At<float>(vector(norm.weight)),
                      .bias = At<float>(vector(norm.bias)),
                      .y = At<float>(act(at_.normed)),
                      .cols = Count(cols),
                      .eps = config_.norm_eps},
                     rows);
}

void DeviceVision::Product(const PlacedWeight& weight, hw::CudaAddress x, size_t rows, hw::CudaAddress y,
                           bool accumulate) {
  const DeviceProduct part{.weight = &weight, .y = y, .accumulate = accumulate};
  layer_kernels_.Products({&part, 1}, weights_.address(),
                          {.x = x,
                           .codes = act(at_.codes),
                           .scales = act(at_.scales),
                           .sums = act(at_.sums),
                           .n = rows,
                           .cols = weight.layout.cols});
}

void DeviceVision::KeysAndValues(const PlacedVisionLayer& layer, size_t begin, size_t rows, size_t n) {
  const size_t half = config_.head_dim() / 2;
  LayerNorm(layer.norm1, x_row(begin), rows, config_.dim);
  Product(layer.qkv, act(at_.normed), rows, act(at_.qkv));
  const unsigned columns = DeviceHeadDim(config_);
  kernels_.Split({.qkv = At<float>(act(at_.qkv)),
                  .cos = At<float>(act(at_.cos)) + begin * half,
                  .sin = At<float>(act(at_.sin)) + begin * half,
                  .q = At<float>(act(at_.q)) + begin * config_.n_heads * columns,
                  .k = At<float>(act(at_.k)),
                  .v = At<float>(act(at_.v)),
                  .heads = Count(config_.n_heads),
                  .head_dim = Count(config_.head_dim()),
                  .columns = columns,
                  .capacity = Count(n),
                  .first = Count(begin)},
                 rows);
}

void DeviceVision::Attend(size_t begin, size_t rows, size_t n) {
  const attention::Inputs in = VisionAttention(config_, rows, n);
  const attention::CudaProblem problem = MakeCudaProblem(in, device_->info().multiprocessors);
  gpu::AttentionParams p = ParamsOf(in, problem);
  p.q = At<float>(act(at_.q)) + begin * config_.n_heads * problem.head_dim;
  p.k = At<void>(act(at_.k));
  p.v = At<void>(act(at_.v));
  p.seen = At<gpu::SeenRange>(act(at_.seen)) + begin;
  p.out = At<float>(act(at_.attended));
  p.stats = At<float>(act(at_.stats));
  p.partial = At<float>(act(at_.partial));
  p.partial_stats = At<float>(act(at_.partial_stats));
  StartAttention(*device_, attention_, in.shape, problem, p);
  if (at_.narrow != at_.attended)
    layer_kernels_.Narrow({.x = At<float>(act(at_.attended)),
                           .y = At<float>(act(at_.narrow)),
                           .columns = problem.head_dim,
                           .head_dim = Count(config_.head_dim()),
                           .count = Count(rows * config_.dim)});
}

void DeviceVision::Mlp(const PlacedVisionLayer& layer, size_t begin, size_t rows) {
  LayerNorm(layer.norm2, x_row(begin), rows, config_.dim);
  Product(layer.fc1, act(at_.normed), rows, act(at_.hidden));
  kernels_.GeluTanh(act(at_.hidden), rows * config_.ffn_dim);
  Product(layer.fc2, act(at_.hidden), rows, x_row(begin), /*accumulate=*/true);
}

void DeviceVision::Block(size_t index, size_t n) {
  const PlacedVisionLayer& layer = placed_.layers[index];
  const auto rows = [&](size_t begin) { return std::min(kVisionRowsAtATime, n - begin); };
  for (size_t i = 0; i < n; i += kVisionRowsAtATime) KeysAndValues(layer, i, rows(i), n);
  for (size_t i = 0; i < n; i += kVisionRowsAtATime) {
    Attend(i, rows(i), n);
    Product(layer.proj, act(at_.narrow), rows(i), x_row(i), /*accumulate=*/true);
    Mlp(layer, i, rows(i));
  }
}

void DeviceVision::Merge(const PlacedMerger& merger, bool norm_before_concat, const Group& group,
                         float* out) {
  const size_t joined = config_.merge_size * config_.merge_size, wide = joined * config_.dim;
  const size_t n_tokens = group.n / joined, at_a_time = kVisionRowsAtATime / joined;
  for (size_t begin = 0; begin < n_tokens; begin += at_a_time) {
    const size_t tokens = std::min(at_a_time, n_tokens - begin);
    if (norm_before_concat)
      LayerNorm(merger.norm, x_row(begin * joined), tokens * joined, config_.dim);
    else
      LayerNorm(merger.norm, x_row(begin * joined), tokens, wide);
    Product(merger.fc1, act(at_.normed), tokens, act(at_.hidden));
    kernels_.GeluErf(act(at_.hidden), tokens * wide);
    Product(merger.fc2, act(at_.hidden), tokens, act(at_.merged));
    device_->Wait("a vision merger");
    activations_.Download(out + begin * config_.out_dim, at_.merged,
                          tokens * config_.out_dim * sizeof(float));
  }
}

void DeviceVision::TraceBlock(const VisionStep& step, size_t index, const Group& group,
                              const Runtime& runtime) {
  hw::AlignedBuffer<float> x(group.n * config_.dim);
  activations_.Download(x.data(), at_.x, x.bytes());
  runtime.Trace(step.prefix + ".block." + std::to_string(index), {group.n, config_.dim}, x.data());
}

void DeviceVision::RepeatBlock(size_t index, const VisionStep& step, size_t times) {
  const Group group = Split(step).front();
  UploadGroup(step, group);
  for (size_t i = 0; i < times; ++i) Block(index, group.n);
  device_->Wait("vision block " + std::to_string(index));
}

void DeviceVision::Encode(const VisionStep& step, VisualFeatures& features, const Runtime& runtime) {
  const size_t joined = config_.merge_size * config_.merge_size;
  const std::vector<Group> groups = Split(step);
  for (size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    const size_t first_value = group.begin / joined * config_.out_dim;
    UploadGroup(step, group);
    for (size_t i = 0; i < config_.n_layers; ++i) {
      Block(i, group.n);
      device_->Wait("vision block " + std::to_string(i));
      if (runtime.trace) TraceBlock(step, i, group, runtime);
      const auto deep = std::ranges::find(config_.deepstack_layers, i);
      if (deep != config_.deepstack_layers.end()) {
        const auto j = static_cast<size_t>(deep - config_.deepstack_layers.begin());
        Merge(placed_.deepstack[j], /*norm_before_concat=*/false, group,
              features.deepstack[j].data() + first_value);
      }
      step.on_block((g * config_.n_layers + i + 1) / groups.size());
      runtime.CheckCancelled();
    }
    Merge(placed_.merger, /*norm_before_concat=*/true, group, features.main.data() + first_value);
  }
  if (!IsFinite(features.main) || !std::ranges::all_of(features.deepstack, IsFinite))
    throw Error(ErrorCode::kUnsupported, "a feature is not finite");
}

}  // namespace qwen3vl
