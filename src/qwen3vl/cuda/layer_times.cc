// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/layer_times.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "qwen3vl/decoder_layer.h"

namespace qwen3vl {
namespace {

constexpr int kRepeats = 3;           // the first one also warms up
constexpr size_t kMeasuredSide = 16;  // patches: the smallest picture has no fewer

double FastestOf(const std::function<void()>& run) {
  double best = std::numeric_limits<double>::max();
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// The session's own way to compute, watched by nobody.
SessionOptions Unwatched(SessionOptions options) {
  options.log = nullptr;
  options.progress = nullptr;
  options.trace = nullptr;
  options.profile = false;
  return options;
}

// Any numbers that are not all alike.
void Fill(std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 1000) / 1000 - 0.5f;
}

}  // namespace

LayerTimes MeasureLayer(DeviceDecoder& decoder, const TextConfig& config, const TextWeights& weights,
                        const SessionOptions& options) {
  Runtime runtime(Unwatched(options));
  attention::KvCacheShape shape = decoder.kv();
  shape.n_layers = config.n_layers;
  attention::KvCache cache(shape);
  const size_t layer = decoder.range().first, n = std::max<size_t>(1, shape.capacity - 1);
  hw::AlignedBuffer<float> x(n * config.dim);
  DecoderScratch scratch;
  scratch.Reserve(config, n);

  const auto on_gpu = [&](size_t rows, const rope::RopeTable& rope) {
    decoder.Run({.x = {x.data(), rows, config.dim}, .rope = &rope, .cache = &cache}, decoder.range(),
                runtime);
  };
  const auto on_cpu = [&](size_t rows, const rope::RopeTable& rope) {
    DecoderStep step{.config = &config,
                     .weights = &weights.layers[layer],
                     .index = layer,
                     .name = "measured",
                     .rope = &rope,
                     .cache = &cache};
    step.mask.causal = true;
    DecoderLayer(step, {x.data(), rows, config.dim}, scratch, runtime);
  };
  const auto time = [&](size_t rows, size_t cached, const auto& run) {
    const std::vector<rope::Position> positions(rows);
    const rope::RopeTable rope =
        rope::RopeTable::Text(positions, config.head_dim, config.rope_theta, config.mrope_section);
    return FastestOf([&] {
      cache.Truncate(cached);
      Fill(x.span());
      run(rows, rope);
    });
  };
  LayerTimes times{.prompt_tokens = n};
  times.gpu_prompt_s = time(n, 0, on_gpu);
  times.gpu_token_s = time(1, std::min(n, shape.capacity - 1), on_gpu);
  times.cpu_prompt_s = time(n, 0, on_cpu);
  times.cpu_token_s = time(1, std::min(n, shape.capacity - 1), on_cpu);
  return times;
}

PartTimes MeasureOutput(const DeviceOutput& output, const Weight& weight, const SessionOptions& options) {
  const Runtime runtime(Unwatched(options));
  std::vector<float> x(weight.cols), logits(weight.rows);
  Fill(x);
  const hw::MatrixView<float> to(logits.data(), 1, weight.rows);
  PartTimes times{.piece = "it", .work = "a token"};
  times.gpu_s = FastestOf([&] { output.Run({x.data(), 1, weight.cols}, to); });
  times.cpu_s = FastestOf([&] {
    Linear(weight, {x.data(), 1, weight.cols}, to, {.precision = runtime.precision}, runtime.threads);
  });
  return times;
}

PartTimes MeasureVisionBlock(DeviceVision& tower, const VisionConfig& config, const VisionWeights& weights,
                             const SessionOptions& options) {
  Runtime runtime(Unwatched(options));
  const VisionModel model(config, weights);
  const size_t side = kMeasuredSide / config.merge_size * config.merge_size;
  const rope::Grid grid{.t = 1, .h = side, .w = side};
  const rope::RopeTable rope =
      rope::RopeTable::Vision(rope::PatchPositions({&grid, 1}, config.merge_size), config.head_dim());
  const size_t n = side * side, segments[] = {0, n};
  VisionScratch scratch(config, n);
  const VisionStep step{.x = {scratch.x.data(), n, config.dim}, .rope = &rope, .segments = segments};
  PartTimes times{.piece = "a block", .work = std::to_string(n) + " patches"};
  Fill(scratch.x.span());
  times.gpu_s = FastestOf([&] { tower.RunBlock(0, step); });
  times.cpu_s = FastestOf([&] { model.Block(0, "measured", rope, segments, scratch, runtime); });
  return times;
}

}  // namespace qwen3vl
