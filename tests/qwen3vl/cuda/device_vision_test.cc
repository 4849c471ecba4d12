// SPDX-License-Identifier: Apache-2.0
// The vision tower on the stand-in GPU beside the same tower on the CPU.
#include "qwen3vl/cuda/device_vision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cuda/fake_driver.h"
#include "qwen3vl/cuda/driver_code.h"
#include "qwen3vl/cuda/quantized_weight.h"
#include "support/expect_error.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using hw::Format;
using test::FakeCuda;

struct TowerCase {
  const char* name;
  Format big, small;  // of qkv, fc1 and the mergers; of proj and fc2
  size_t n_heads, head_dim;
  std::vector<rope::Grid> grids;
  size_t max_patches;
  // Of the GPU against the CPU, relative in the norm. 0: weights with codes, whose products with 8-bit
  // activations are not exact on either: the GPU is then no further than 1.5 times as far from products with
  // floats as the CPU is.
  double tolerance;
};

void PrintTo(const TowerCase& c, std::ostream* os) { *os << c.name; }

// Two blocks, the first with a deepstack merger.
class Tower {
 public:
  explicit Tower(const TowerCase& c) {
    config_.dim = c.n_heads * c.head_dim;
    config_.n_layers = 2;
    config_.n_heads = c.n_heads;
    config_.ffn_dim = 2 * config_.dim;
    config_.out_dim = 40;
    config_.patch_size = 2;
    config_.n_positions = 16;
    config_.deepstack_layers = {0};
    const size_t dim = config_.dim, wide = 4 * dim;
    weights_.patch_embed = Matrix(Format::kF32, dim, config_.patch_dim());
    weights_.patch_embed_b = Numbers(dim, 0.5f);
    weights_.position_embed = Numbers(16 * dim, 1);
    for (size_t i = 0; i < config_.n_layers; ++i)
      weights_.layers.push_back({.norm1_w = Norm(dim),
                                 .norm1_b = Numbers(dim, 0.2f),
                                 .norm2_w = Norm(dim),
                                 .norm2_b = Numbers(dim, 0.2f),
                                 .qkv = Matrix(c.big, 3 * dim, dim),
                                 .proj = Matrix(c.small, dim, dim),
                                 .fc1 = Matrix(c.big, config_.ffn_dim, dim),
                                 .fc2 = Matrix(c.small, dim, config_.ffn_dim),
                                 .qkv_b = Numbers(3 * dim, 0.3f),
                                 .proj_b = Numbers(dim, 0.3f),
                                 .fc1_b = Numbers(config_.ffn_dim, 0.3f),
                                 .fc2_b = Numbers(dim, 0.3f)});
    weights_.merger = Merger(c.big, dim, wide);
    weights_.deepstack.push_back(Merger(c.big, wide, wide));
    for (const rope::Grid& g : c.grids) n_ += g.t * g.h * g.w;
    patches_ = test::SeededNormal(77, n_ * config_.patch_dim());
  }

  const VisionConfig& config() const { return config_; }
  VisionWeights& weights() { return weights_; }
  std::vector<float>& patches() { return patches_; }
  size_t n() const { return n_; }

  std::unique_ptr<DeviceVision> OnGpu(size_t max_patches) const {
    const auto device = std::make_shared<const hw::CudaDevice>(test::FakeDriver());
    return std::make_unique<DeviceVision>(device, test::CodeForDriver(), config_, weights_, max_patches,
                                          gpu::ScoreType::kF32);
  }

 private:
  Vector Numbers(size_t n, float amplitude) {
    Vector v(n);
    const uint64_t seed = ++seed_;
    for (size_t i = 0; i < n; ++i) v.data()[i] = test::SeededValue(seed, i, amplitude);
    return v;
  }
  Vector Norm(size_t n) {
    Vector v = Numbers(n, 0.5f);
    for (float& x : v.span()) x += 1;
    return v;
  }
  Weight Matrix(Format format, size_t rows, size_t cols) {
    made_.push_back(test::MakeWeight(format, rows, cols, made_.size() + 100));
    return made_.back().w;
  }
  MergerWeights Merger(Format format, size_t norm, size_t wide) {
    return {.norm_w = Norm(norm),
            .norm_b = Numbers(norm, 0.2f),
            .fc1 = Matrix(format, wide, wide),
            .fc2 = Matrix(format, config_.out_dim, wide),
            .fc1_b = Numbers(wide, 0.3f),
            .fc2_b = Numbers(config_.out_dim, 0.3f)};
  }

  VisionConfig config_;
  VisionWeights weights_;
  size_t n_ = 0;
  uint64_t seed_ = 0;
  std::vector<float> patches_;
  std::vector<test::MadeWeight> made_;  // moving one keeps its bytes where they are
};

// A tower on the GPU as VisionModel takes it, which does not fall back.
class Unguarded : public GpuTower {
 public:
  explicit Unguarded(std::unique_ptr<DeviceVision> tower) : tower_(std::move(tower)) {}
  bool Encode(const VisionStep& step, VisualFeatures& features, Runtime& runtime) override {
    tower_->Encode(step, features, runtime);
    return true;
  }

 private:
  std::unique_ptr<DeviceVision> tower_;
};

class DeviceVisionTest : public testing::TestWithParam<TowerCase> {
 protected:
  void SetUp() override {
    if (test::CodeForDriver().layers.empty()) GTEST_SKIP() << "no device code in this build";
  }

  VisualFeatures Encode(Runtime& runtime, bool on_gpu) {
    VisionModel model(tower_.config(), tower_.weights());
    if (on_gpu) model.UseGpu(std::make_unique<Unguarded>(tower_.OnGpu(GetParam().max_patches)));
    blocks_.clear();
    return model.Encode(
        tower_.patches(), GetParam().grids, "vision", [&](size_t done) { blocks_.push_back(done); }, runtime);
  }
  void ExpectNear(std::span<const float> gpu, std::span<const float> cpu, std::span<const float> exact) {
    if (GetParam().tolerance > 0)
      EXPECT_LE(test::RelativeError(gpu, cpu), GetParam().tolerance);
    else
      EXPECT_LE(test::RelativeError(gpu, exact), 1.5 * test::RelativeError(cpu, exact));
  }

  FakeCuda fake_;
  Tower tower_{GetParam()};
  Runtime fast_{SessionOptions{.threads = 1, .cpu_products = CpuProducts::kF32, .use_tuning = false}};
  Runtime exactly_{SessionOptions{.threads = 1, .use_tuning = false, .exact = true}};
  std::vector<size_t> blocks_;
};

TEST_P(DeviceVisionTest, DoesWhatTheCpuDoes) {
  const VisualFeatures cpu = Encode(fast_, false), exact = Encode(exactly_, false);
  const VisualFeatures gpu = Encode(fast_, true);
  ExpectNear(gpu.main.span(), cpu.main.span(), exact.main.span());
  ExpectNear(gpu.deepstack[0].span(), cpu.deepstack[0].span(), exact.deepstack[0].span());
  // Progress never falls, and ends with all blocks done.
  EXPECT_TRUE(std::ranges::is_sorted(blocks_));
  EXPECT_EQ(blocks_.back(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, DeviceVisionTest,
    testing::Values(
        TowerCase{"F32TwoPictures", Format::kF32, Format::kF32, 2, 64, {{1, 4, 6}, {1, 2, 2}}, 64, 1e-5},
        TowerCase{"F16AndBf16", Format::kF16, Format::kBF16, 2, 72, {{1, 4, 4}}, 16, 1e-5},
        TowerCase{"PaddedHeads", Format::kF16, Format::kF16, 4, 32, {{1, 6, 4}}, 24, 1e-5},
        TowerCase{"Q8", Format::kQ8_0, Format::kQ8_0, 2, 64, {{1, 4, 6}}, 64, 0},
        // A clip of three groups, of which two are there at a time, then a picture for which room is made.
        TowerCase{"ClipInTurns", Format::kF16, Format::kF16, 2, 64, {{3, 4, 4}, {1, 8, 8}}, 40, 1e-5},
        // More patches than are computed at a time, and eight of them in the last turn.
        TowerCase{"ManyPatches", Format::kF32, Format::kF32, 1, 32, {{1, 4, 258}}, 1032, 1e-5}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(DeviceVision, WhatIsNotFiniteIsLeftToTheCpu) {
  FakeCuda fake;
  Tower tower({"", Format::kF32, Format::kF32, 1, 32, {{1, 2, 2}}, 4, 0});
  tower.patches()[5] = INFINITY;
  VisionModel model(tower.config(), tower.weights());
  model.UseGpu(std::make_unique<Unguarded>(tower.OnGpu(4)));
  Runtime runtime{SessionOptions{.threads = 1, .use_tuning = false}};
  const rope::Grid grid{1, 2, 2};
  EXPECT_ERROR(ErrorCode::kUnsupported, "a feature is not finite",
               model.Encode(
                   tower.patches(), {&grid, 1}, "vision", [](size_t) {}, runtime));
}

TEST(DeviceVision, MemoryIsKnownBeforehand) {
  // The 4B model's block in F16: 25 MB of weights.
  VisionConfig c;
  c.dim = 1024, c.n_heads = 16, c.ffn_dim = 4096, c.out_dim = 2560;
  const auto weight = [](size_t rows, size_t cols) {
    return Weight{.format = Format::kF16, .rows = rows, .cols = cols};
  };
  VisionWeights w;
  w.layers.resize(1);
  w.layers[0].qkv = weight(3072, 1024), w.layers[0].proj = weight(1024, 1024);
  w.layers[0].fc1 = weight(4096, 1024), w.layers[0].fc2 = weight(1024, 4096);
  w.merger.fc1 = weight(4096, 4096), w.merger.fc2 = weight(2560, 4096);
  const size_t file_bytes = 2 * (size_t{12} * 1024 * 1024 + 4096 * (4096 + 2560));
  EXPECT_GE(PlaceVisionWeights(w).bytes, file_bytes);
  EXPECT_LT(PlaceVisionWeights(w).bytes, file_bytes + file_bytes / 1000);
  // Hidden states, queries, keys and values of all patches: 16 KiB each.
  const size_t small = PlaceVisionActivations(c, 2048, 10).bytes,
               large = PlaceVisionActivations(c, 4096, 10).bytes;
  EXPECT_NEAR(static_cast<double>(large - small), 2048.0 * (16 << 10), 2e6);
  EXPECT_LT(small, size_t{100} << 20);
}

TEST(DeviceVision, SaysWhatItCannotRun) {
  Tower tower({"", Format::kF32, Format::kF32, 2, 64, {}, 4, 0});
  VisionConfig c = tower.config();
  EXPECT_EQ(WhyNotOnGpu(c, tower.weights()), "");
  tower.weights().deepstack[0].fc2.format = Format::kQ3_K;
  EXPECT_EQ(WhyNotOnGpu(c, tower.weights()).substr(0, 12), "q3_K weights");
  c.dim = 2 * 132;
  EXPECT_EQ(WhyNotOnGpu(c, tower.weights()).substr(0, 12), "head_dim 132");
}

}  // namespace
}  // namespace qwen3vl
