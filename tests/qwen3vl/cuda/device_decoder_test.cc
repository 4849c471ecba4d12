// SPDX-License-Identifier: Apache-2.0
// Decoder layers on the stand-in GPU beside the same layers on the CPU: hidden states, and what the cache in
// main memory holds afterwards.
#include "qwen3vl/cuda/device_decoder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/fake_driver.h"
#include "qwen3vl/cuda/driver_code.h"
#include "qwen3vl/cuda/quantized_weight.h"
#include "qwen3vl/decoder_layer.h"
#include "support/expect_error.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using attention::KvCache;
using hw::Format;
using test::FakeCuda;

struct DecoderCase {
  const char* name;
  Format big, small;  // of q, k, o, gate, up; of v and down
  Format kv;
  size_t n_heads, n_kv_heads, head_dim;
  // Of the GPU against the CPU, relative in the norm. 0: weights with codes, whose products with 8-bit
  // activations are not exact on either: the GPU is then no further than 1.5 times as far from products with
  // floats as the CPU is.
  double tolerance;
  gpu::ScoreType scores = gpu::ScoreType::kF32;
  size_t n_experts = 0, n_experts_used = 0;  // of a mixture, whose router is in F32
};

void PrintTo(const DecoderCase& c, std::ostream* os) { *os << c.name; }

constexpr size_t kDim = 256, kFfn = 256, kLayers = 2, kCapacity = 64;

class Decoder {
 public:
  explicit Decoder(const DecoderCase& c) {
    config_.dim = kDim;
    config_.n_layers = kLayers;
    config_.n_heads = c.n_heads;
    config_.n_kv_heads = c.n_kv_heads;
    config_.head_dim = c.head_dim;
    config_.ffn_dim = config_.expert_ffn_dim = kFfn;
    config_.n_experts = c.n_experts;
    config_.n_experts_used = c.n_experts_used;
    const size_t third = c.head_dim / 2 / 3;
    config_.mrope_section = {c.head_dim / 2 - 2 * third, third, third};
    for (size_t i = 0; i < kLayers; ++i) {
      TextLayerWeights& w = weights_.layers.emplace_back();
      w.attn_norm = Norm(kDim, i);
      w.ffn_norm = Norm(kDim, i + 10);
      w.q_norm = Norm(c.head_dim, i + 20);
      w.k_norm = Norm(c.head_dim, i + 30);
      w.q = Matrix(c.big, config_.q_dim(), kDim);
      w.k = Matrix(c.big, config_.kv_dim(), kDim);
      w.v = Matrix(c.small, config_.kv_dim(), kDim);
      w.o = Matrix(c.big, kDim, config_.q_dim());
      if (c.n_experts) {
        w.router = Matrix(Format::kF32, c.n_experts, kDim);
        for (size_t e = 0; e < c.n_experts; ++e) {
          w.expert_gate.push_back(Matrix(c.big, kFfn, kDim));
          w.expert_up.push_back(Matrix(c.big, kFfn, kDim));
          w.expert_down.push_back(Matrix(c.small, kDim, kFfn));
        }
      } else {
        w.gate = Matrix(c.big, kFfn, kDim);
        w.up = Matrix(c.big, kFfn, kDim);
        w.down = Matrix(c.small, kDim, kFfn);
      }
    }
    kv_ = {.n_layers = kLayers,
           .n_kv_heads = c.n_kv_heads,
           .head_dim = c.head_dim,
           .capacity = kCapacity,
           .format = c.kv};
    scores_ = c.scores;
  }

  const TextConfig& config() const { return config_; }
  const TextWeights& weights() const { return weights_; }
  const attention::KvCacheShape& kv() const { return kv_; }

  std::unique_ptr<DeviceDecoder> OnGpu(size_t max_rows) const {
    const auto device = std::make_shared<const hw::CudaDevice>(test::FakeDriver());
    return std::make_unique<DeviceDecoder>(device, test::CodeForDriver(), config_, weights_,
                                           DecoderPart{{0, kLayers}, kv_, max_rows, scores_});
  }

  // One weight of the first layer's queries, or values, in floats.
  float& query_weight() { return *reinterpret_cast<float*>(made_[0].bytes.data()); }
  float& value_weight() { return *reinterpret_cast<float*>(made_[2].bytes.data()); }

  rope::RopeTable Rope(size_t first, size_t n) const {
    std::vector<rope::Position> positions;
    for (size_t i = 0; i < n; ++i) {
      const auto at = static_cast<int32_t>(first + i);
      positions.push_back({at, at + 1, at / 2});
    }
    return rope::RopeTable::Text(positions, config_.head_dim, config_.rope_theta, config_.mrope_section);
  }

  void OnCpu(const LayersStep& step, Runtime& runtime) const {
    DecoderScratch scratch;
    scratch.Reserve(config_, step.x.rows);
    for (size_t i = 0; i < kLayers; ++i) {
      DecoderStep one{.config = &config_,
                      .weights = &weights_.layers[i],
                      .index = i,
                      .name = "layer",
                      .rope = step.rope,
                      .cache = step.cache};
      one.mask.causal = true;
      DecoderLayer(one, step.x, scratch, runtime);
      if (i >= step.n_deepstack) continue;
      for (const VisualRow& v : step.visual)
        for (size_t c = 0; c < kDim; ++c) step.x.row(v.token)[c] += v.features->deepstack_row(i, v.row)[c];
    }
  }

 private:
  Vector Norm(size_t n, uint64_t seed) {
    Vector v(n);
    for (size_t i = 0; i < n; ++i) v.data()[i] = 1 + test::SeededValue(seed, i, 0.5f);
    return v;
  }
  Weight Matrix(Format format, size_t rows, size_t cols) {
    made_.push_back(test::MakeWeight(format, rows, cols, made_.size() + 100));
    return made_.back().w;
  }

  TextConfig config_;
  TextWeights weights_;
  attention::KvCacheShape kv_;
  gpu::ScoreType scores_;
  std::vector<test::MadeWeight> made_;  // moving one keeps its bytes where they are
};

std::vector<float> Rows(const KvCache& cache) {
  const attention::KvCacheShape& s = cache.shape();
  std::vector<float> rows, row(s.head_dim);
  for (size_t layer = 0; layer < s.n_layers; ++layer)
    for (size_t pos = 0; pos < cache.layer(layer).length; ++pos)
      for (size_t h = 0; h < s.n_kv_heads; ++h) {
        cache.ReadK(layer, h, pos, row.data());
        rows.insert(rows.end(), row.begin(), row.end());
        cache.ReadV(layer, h, pos, row.data());
        rows.insert(rows.end(), row.begin(), row.end());
      }
  return rows;
}

// Features of two pictures' tokens for both layers.
VisualFeatures MakeFeatures() {
  VisualFeatures f;
  f.n_tokens = 2;
  f.dim = kDim;
  for (uint64_t layer = 0; layer < kLayers; ++layer) {
    f.deepstack.emplace_back(2 * kDim);
    for (size_t i = 0; i < 2 * kDim; ++i)
      f.deepstack.back().data()[i] = test::SeededValue(50 + layer, i, 4.0f);
  }
  return f;
}

class DeviceDecoderTest : public testing::TestWithParam<DecoderCase> {
 protected:
  void SetUp() override {
    if (test::CodeForDriver().layers.empty()) GTEST_SKIP() << "no device code in this build";
  }

  struct Side {
    explicit Side(const Decoder& decoder) : cache(decoder.kv()) {}
    KvCache cache;
    std::vector<float> x;
  };

  void ExpectNear(std::span<const float> gpu, std::span<const float> cpu, std::span<const float> exact) {
    const double tolerance = GetParam().tolerance;
    if (tolerance > 0)
      EXPECT_LE(test::RelativeError(gpu, cpu), tolerance);
    else
      EXPECT_LE(test::RelativeError(gpu, exact), 1.5 * test::RelativeError(cpu, exact));
  }

  // n more tokens on all sides; the same hidden states and rows come out.
  void Step(size_t n, std::span<const VisualRow> visual = {}) {
    SCOPED_TRACE(std::to_string(n) + " tokens on " + std::to_string(cpu_.cache.length()));
    const rope::RopeTable rope = decoder_.Rope(cpu_.cache.length(), n);
    const auto step = [&](Side& side) {
      side.x = test::SeededNormal(n, n * kDim);
      return LayersStep{.x = {side.x.data(), n, kDim},
                        .rope = &rope,
                        .cache = &side.cache,
                        .visual = visual,
                        .n_deepstack = visual.empty() ? 0 : kLayers};
    };
    decoder_.OnCpu(step(cpu_), fast_);
    decoder_.OnCpu(step(exact_), exactly_);
    device_->Run(step(gpu_), device_->range(), fast_);
    ExpectNear(gpu_.x, cpu_.x, exact_.x);
    ASSERT_EQ(gpu_.cache.length(), cpu_.cache.length());
    ExpectNear(Rows(gpu_.cache), Rows(cpu_.cache), Rows(exact_.cache));
  }

  FakeCuda fake_;
  Decoder decoder_{GetParam()};
  Runtime fast_{SessionOptions{.threads = 1, .cpu_products = CpuProducts::kF32, .use_tuning = false}};
  Runtime exactly_{SessionOptions{.threads = 1, .use_tuning = false, .exact = true}};
  Side cpu_{decoder_}, gpu_{decoder_}, exact_{decoder_};
  std::unique_ptr<DeviceDecoder> device_ = decoder_.OnGpu(/*max_rows=*/16);
};

TEST_P(DeviceDecoderTest, DoesWhatTheCpuDoes) {
  const VisualFeatures features = MakeFeatures();
  const VisualRow visual[] = {{3, &features, 1}, {18, &features, 0}};
  Step(21, visual);  // in two turns of 16 and 5 rows
  Step(1);
  Step(3);
  // A prompt that shares its beginning with the last one.
  for (Side* side : {&cpu_, &gpu_, &exact_}) side->cache.Truncate(9);
  Step(6);
  Step(1);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, DeviceDecoderTest,
    testing::Values(DecoderCase{"F32", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 1e-5},
                    DecoderCase{"Bf16PaddedHeads", Format::kBF16, Format::kF16, Format::kF32, 8, 4, 32, 1e-5},
                    DecoderCase{"F16Cache", Format::kF16, Format::kF16, Format::kF16, 4, 1, 72, 1e-3},
                    DecoderCase{"Q8", Format::kQ8_0, Format::kQ8_0, Format::kF16, 4, 2, 64, 0},
                    DecoderCase{"Q4KM", Format::kQ4_K, Format::kQ6_K, Format::kQ8_0, 2, 1, 128, 0},
                    DecoderCase{"Q5KM", Format::kQ5_K, Format::kQ6_K, Format::kF16, 2, 1, 128, 0},
                    DecoderCase{"Q4Bf16Cache", Format::kQ4_0, Format::kQ4_0, Format::kBF16, 4, 4, 64, 0},
                    // What rounding q and k does to the attention of a layer, docs/gpu.md, twice.
                    DecoderCase{"Int8ScoresF16Cache", Format::kF32, Format::kF32, Format::kF16, 4, 2, 64,
                                2 * 8e-3, gpu::ScoreType::kInt8},
                    DecoderCase{"Int8ScoresQ8Cache", Format::kF32, Format::kF32, Format::kQ8_0, 4, 1, 128,
                                2 * 8e-3, gpu::ScoreType::kInt8},
                    DecoderCase{"Mixture", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 1e-5,
                                gpu::ScoreType::kF32, 8, 3},
                    // Of all experts: which ones are chosen does not hang on the error of 8 bits.
                    DecoderCase{"MixtureQ4KM", Format::kQ4_K, Format::kQ6_K, Format::kF16, 4, 2, 64, 0,
                                gpu::ScoreType::kF32, 3, 3}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// Hidden states of tokens on top of nine others, in one step or one by one, and all keys and values.
struct Ran {
  std::vector<float> x, rows;
};

Ran RunOnTop(const Decoder& decoder, size_t at_once, bool each_alone) {
  constexpr size_t kBefore = 9, kMore = 4;
  Runtime runtime{SessionOptions{.threads = 1, .use_tuning = false}};
  const std::unique_ptr<DeviceDecoder> device = decoder.OnGpu(16);
  KvCache cache(decoder.kv());
  const auto run = [&](std::span<float> x, bool alone) {
    const size_t n = x.size() / kDim;
    const rope::RopeTable rope = decoder.Rope(cache.length(), n);
    device->Run({.x = {x.data(), n, kDim}, .rope = &rope, .cache = &cache, .each_alone = alone},
                device->range(), runtime);
  };
  std::vector<float> before = test::SeededNormal(1, kBefore * kDim);
  run(before, false);
  Ran ran{.x = test::SeededNormal(2, kMore * kDim)};
  for (size_t i = 0; i < kMore; i += at_once)
    run(std::span(ran.x).subspan(i * kDim, at_once * kDim), each_alone);
  ran.rows = Rows(cache);
  return ran;
}

// With 4 query heads on each key/value head, two tokens and four take different kernels of attention.
TEST(DeviceDecoder, TokensOfAStepCanEachGetTheBitsThatTheyGetAlone) {
  if (test::CodeForDriver().layers.empty()) GTEST_SKIP() << "no device code in this build";
  FakeCuda fake;
  for (const DecoderCase& c : {DecoderCase{"F32", Format::kF32, Format::kF32, Format::kF16, 4, 1, 64, 0},
                               DecoderCase{"Q4KM", Format::kQ4_K, Format::kQ6_K, Format::kQ8_0, 4, 1, 128, 0},
                               DecoderCase{"Mixture", Format::kQ8_0, Format::kF16, Format::kF32, 4, 1, 72, 0,
                                           gpu::ScoreType::kF32, 4, 2}}) {
    SCOPED_TRACE(c.name);
    const Decoder decoder(c);
    const Ran wanted = RunOnTop(decoder, 1, false);
    for (const size_t at_once : {2, 4}) {
      const Ran found = RunOnTop(decoder, at_once, true);
      EXPECT_EQ(found.x, wanted.x);
      EXPECT_EQ(found.rows, wanted.rows);
    }
    EXPECT_NE(RunOnTop(decoder, 4, false).x, wanted.x) << "nothing here tells the difference";
  }
}

// Scores in fp32 would be a hundred times closer to the CPU's.
TEST(DeviceDecoder, Int8ScoresAreWhatIsComputedWhereAskedFor) {
  FakeCuda fake;
  DecoderCase c{"", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 0};
  Runtime runtime{SessionOptions{.threads = 1, .use_tuning = false}};
  const auto run = [&](gpu::ScoreType scores) {
    c.scores = scores;
    const Decoder decoder(c);
    const rope::RopeTable rope = decoder.Rope(0, 9);
    KvCache cache(decoder.kv());
    std::vector<float> x = test::SeededNormal(9, 9 * kDim);
    const std::unique_ptr<DeviceDecoder> device = decoder.OnGpu(16);
    device->Run({.x = {x.data(), 9, kDim}, .rope = &rope, .cache = &cache}, device->range(), runtime);
    return x;
  };
  const double apart = test::RelativeError(run(gpu::ScoreType::kInt8), run(gpu::ScoreType::kF32));
  EXPECT_GT(apart, 1e-5);
  EXPECT_LT(apart, 2 * 8e-3);
}

// In the queries alone; nothing else would tell.
TEST(DeviceDecoder, NaNInQueriesIsNoticed) {
  FakeCuda fake;
  for (const gpu::ScoreType scores : {gpu::ScoreType::kF32, gpu::ScoreType::kInt8}) {
    Decoder decoder({"", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 0, scores});
    decoder.query_weight() = NAN;
    const rope::RopeTable rope = decoder.Rope(0, 9);
    KvCache cache(decoder.kv());
    std::vector<float> x = test::SeededNormal(9, 9 * kDim);
    Runtime runtime{SessionOptions{.threads = 1, .use_tuning = false}};
    const std::unique_ptr<DeviceDecoder> device = decoder.OnGpu(16);
    EXPECT_ERROR(
        ErrorCode::kUnsupported, "text.layer.1: a value is not finite",
        device->Run({.x = {x.data(), 9, kDim}, .rope = &rope, .cache = &cache}, device->range(), runtime));
  }
}

TEST(DeviceDecoder, ALayerIsRepeatedOnTheDeviceAlone) {
  if (!test::OnStandIn()) GTEST_SKIP() << "the stand-in counts launches";
  FakeCuda fake;
  const auto launches = test::FakeFunction<unsigned()>("FakeCudaLaunches");
  const Decoder decoder({"", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 0});
  const rope::RopeTable rope = decoder.Rope(0, 5);
  KvCache cache(decoder.kv());
  const std::vector<float> before = test::SeededNormal(9, 5 * kDim);
  std::vector<float> x = before;
  const std::unique_ptr<DeviceDecoder> device = decoder.OnGpu(16);
  const auto launched = [&](size_t times) {
    const unsigned start = launches();
    device->RepeatLayer({.x = {x.data(), 5, kDim}, .rope = &rope, .cache = &cache}, times);
    return launches() - start;
  };
  const unsigned once = launched(1);
  EXPECT_GT(once, 0u);
  EXPECT_EQ(launched(3), 3 * once);
  EXPECT_EQ(x, before);
  EXPECT_EQ(cache.length(), 0u);
}

// It must not wait while values come to the cache in main memory: those of the first layer are looked at when
// the second one has been started.
TEST(DeviceDecoder, TheDeviceWorksOnWhileValuesAreStored) {
  if (!test::OnStandIn()) GTEST_SKIP() << "the stand-in counts launches";
  FakeCuda fake;
  const auto launches = test::FakeFunction<unsigned()>("FakeCudaLaunches");
  Decoder decoder({"", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 0});
  const rope::RopeTable rope = decoder.Rope(0, 16);
  const auto run = [&] {
    KvCache cache(decoder.kv());
    std::vector<float> x = test::SeededNormal(9, 16 * kDim);
    Runtime runtime{SessionOptions{.threads = 1, .use_tuning = false}};
    const std::unique_ptr<DeviceDecoder> device = decoder.OnGpu(16);
    device->Run({.x = {x.data(), 16, kDim}, .rope = &rope, .cache = &cache}, device->range(), runtime);
  };
  const unsigned before = launches();
  run();
  const unsigned of_both_layers = launches() - before;
  decoder.value_weight() = NAN;
  EXPECT_ERROR(ErrorCode::kUnsupported, "text.layer.0: a value is not finite", run());
  EXPECT_EQ(launches() - before, 2 * of_both_layers);
}

TEST(DeviceDecoder, MemoryIsKnownBeforehand) {
  // The 4B model's layer in Q4_K and Q6_K: 58 MB of weights; 4096 tokens of 8 heads of 128 in f16 twice.
  TextConfig c;
  c.dim = 2560, c.n_layers = 1, c.n_heads = 32, c.n_kv_heads = 8, c.head_dim = 128, c.ffn_dim = 9728;
  const auto weight = [](Format format, size_t rows, size_t cols) {
    return Weight{.format = format, .rows = rows, .cols = cols};
  };
  TextWeights weights;
  TextLayerWeights& w = weights.layers.emplace_back();
  w.q = weight(Format::kQ4_K, 4096, 2560), w.k = weight(Format::kQ4_K, 1024, 2560);
  w.v = weight(Format::kQ6_K, 1024, 2560), w.o = weight(Format::kQ4_K, 2560, 4096);
  w.gate = w.up = weight(Format::kQ4_K, 9728, 2560), w.down = weight(Format::kQ6_K, 2560, 9728);
  const size_t file_bytes =
      w.q.bytes() + w.k.bytes() + w.v.bytes() + w.o.bytes() + 2 * w.gate.bytes() + w.down.bytes();
  const DecoderMemory m = PlaceDecoder(c, weights, {0, 1}, {.n_layers = 1, .capacity = 4096}, 512, 10);
  EXPECT_GE(m.weight_bytes, file_bytes);
  EXPECT_LT(m.weight_bytes, file_bytes + file_bytes / 200);
  EXPECT_EQ(m.kv_bytes, size_t{2} * 8 * 4096 * 128 * 2);
  EXPECT_LT(m.activation_bytes, size_t{100} << 20);
}

TEST(DeviceDecoder, SaysWhatItCannotRun) {
  Decoder decoder({"", Format::kF32, Format::kF32, Format::kF32, 4, 2, 64, 0});
  TextConfig c = decoder.config();
  TextLayerWeights w;
  EXPECT_EQ(WhyNotOnGpu(c, decoder.weights().layers[0], decoder.kv()), "");
  c.head_dim = 130;
  EXPECT_NE(WhyNotOnGpu(c, decoder.weights().layers[0], decoder.kv()), "");
  c.head_dim = 64;
  w.q.format = Format::kQ3_K;
  EXPECT_EQ(WhyNotOnGpu(c, w, decoder.kv()).substr(0, 12), "q3_K weights");
}

TEST(DeviceDecoder, SaysWhichExpertsItCannotRun) {
  Decoder decoder({.big = Format::kF32,
                   .small = Format::kF32,
                   .kv = Format::kF32,
                   .n_heads = 4,
                   .n_kv_heads = 2,
                   .head_dim = 64,
                   .n_experts = 3,
                   .n_experts_used = 2});
  const auto why = [&](const TextConfig& c, const std::vector<Weight>& down) {
    const TextLayerWeights& from = decoder.weights().layers[0];
    TextLayerWeights w{.q = from.q, .k = from.k, .v = from.v, .o = from.o, .router = from.router};
    w.expert_gate = from.expert_gate, w.expert_up = from.expert_up, w.expert_down = down;
    return WhyNotOnGpu(c, w, decoder.kv());
  };
  TextConfig c = decoder.config();
  std::vector<Weight> down = decoder.weights().layers[0].expert_down;
  EXPECT_EQ(why(c, down), "");
  c.n_experts = 1025;
  EXPECT_EQ(why(c, down), "2 of 1025 experts, want up to 32 of 1024");
  c.n_experts = 64, c.n_experts_used = 33;
  EXPECT_EQ(why(c, down), "33 of 64 experts, want up to 32 of 1024");
  c = decoder.config();
  down[2].format = Format::kBF16;
  EXPECT_EQ(why(c, down), "experts whose weights differ in format");
  down.assign(3, {.format = Format::kQ3_K, .rows = kDim, .cols = kFfn});
  EXPECT_EQ(why(c, down).substr(0, 12), "q3_K weights");
}

}  // namespace
}  // namespace qwen3vl
