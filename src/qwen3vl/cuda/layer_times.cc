// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cuda/layer_times.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "qwen3vl/decoder_layer.h"

namespace qwen3vl {
namespace {

constexpr int kRepeats = 3;             // the first one also warms up
constexpr double kWarmUpSeconds = 0.2;  // a device at rest takes about as long to raise its clocks
constexpr size_t kTimes = 8;  // between one upload and one wait: a real run pays those once for all layers
constexpr size_t kMeasuredSide = 16;  // patches: the smallest picture has no fewer

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double FastestOf(const std::function<void()>& run) {
  double best = std::numeric_limits<double>::max();
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = Clock::now();
    run();
    best = std::min(best, SecondsSince(start));
  }
  return best;
}

// Of one piece of work on the device, where run(times) does that many; a slow device does fewer at a time.
double FastestOnGpu(const std::function<void(size_t times)>& run) {
  const auto start = Clock::now();
  size_t times = 0;
  for (; times == 0 || SecondsSince(start) < kWarmUpSeconds; ++times) run(1);
  times = std::min(times, kTimes);
  return FastestOf([&] { run(times); }) / static_cast<double>(times);
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
  const size_t layer = decoder.range().first;
  const size_t n = std::min(std::max<size_t>(1, shape.capacity - 1), decoder.max_rows());
  const size_t cached = std::min(n, shape.capacity - 1);  // before the token of an answer
  hw::AlignedBuffer<float> x(n * config.dim);
  DecoderScratch scratch;
  scratch.Reserve(config, n);

  const auto rope_of = [&](size_t rows) {
    return rope::RopeTable::Text(std::vector<rope::Position>(rows), config.head_dim, config.rope_theta,
                                 config.mrope_section);
  };
  const auto on_gpu = [&](size_t rows, size_t before) {
    const rope::RopeTable rope = rope_of(rows);
    cache.Truncate(before);
    Fill(x.span());
    return FastestOnGpu([&](size_t times) {
      decoder.RepeatLayer({.x = {x.data(), rows, config.dim}, .rope = &rope, .cache = &cache}, times);
    });
  };
  const auto on_cpu = [&](size_t rows, size_t before) {
    const rope::RopeTable rope = rope_of(rows);
    DecoderStep step{.config = &config,
                     .weights = &weights.layers[layer],
                     .index = layer,
                     .name = "measured",
                     .rope = &rope,
                     .cache = &cache};
    step.mask.causal = true;
    return FastestOf([&] {
      cache.Truncate(before);
      Fill(x.span());
      DecoderLayer(step, {x.data(), rows, config.dim}, scratch, runtime);
    });
  };
  // The prompt comes first: its keys and values are in both caches when a token is added to them.
  LayerTimes times{.prompt_tokens = n};
  times.gpu_prompt_s = on_gpu(n, 0);
  times.cpu_prompt_s = on_cpu(n, 0);
  times.gpu_token_s = on_gpu(1, cached);
  times.cpu_token_s = on_cpu(1, cached);
  return times;
}

PartTimes MeasureOutput(const DeviceOutput& output, const Weight& weight, const SessionOptions& options) {
  const Runtime runtime(Unwatched(options));
  std::vector<float> x(weight.cols), logits(weight.rows);
  Fill(x);
  const hw::MatrixView<float> to(logits.data(), 1, weight.rows);
  PartTimes times{.piece = "it", .work = "a token"};
  times.gpu_s = FastestOnGpu([&](size_t n) {
    for (size_t i = 0; i < n; ++i) output.Run({x.data(), 1, weight.cols}, to);  // each token pays its copies
  });
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
  times.gpu_s = FastestOnGpu([&](size_t times_at_once) { tower.RepeatBlock(0, step, times_at_once); });
  times.cpu_s = FastestOf([&] { model.Block(0, "measured", rope, segments, scratch, runtime); });
  return times;
}

}  // namespace qwen3vl
