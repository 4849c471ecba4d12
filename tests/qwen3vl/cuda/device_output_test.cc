// SPDX-License-Identifier: Apache-2.0
// The output matrix on the stand-in GPU beside the same product on the CPU.
#include "qwen3vl/cuda/device_output.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/fake_driver.h"
#include "qwen3vl/cuda/driver_code.h"
#include "qwen3vl/cuda/quantized_weight.h"
#include "qwen3vl/memory_need.h"
#include "support/near.h"

namespace qwen3vl {
namespace {

using hw::Format;

constexpr size_t kVocabulary = 203, kDim = 512;  // rows that fill no whole block of threads

class DeviceOutputTest : public testing::TestWithParam<Format> {
 protected:
  void SetUp() override {
    if (test::CodeForDriver().layers.empty()) GTEST_SKIP() << "no device code in this build";
  }
};

// More rows than go there at a time; floats are summed in another order, codes are those of the CPU.
TEST_P(DeviceOutputTest, GivesTheLogitsOfTheCpu) {
  test::FakeCuda fake;
  const test::MadeWeight m = test::MakeWeight(GetParam(), kVocabulary, kDim, 7);
  const auto device = std::make_shared<const hw::CudaDevice>(test::FakeDriver());
  const DeviceOutput output(device, test::CodeForDriver(), m.w);
  EXPECT_GE(output.bytes(), m.w.bytes());
  for (const size_t n : {size_t{1}, size_t{4}, size_t{6}}) {
    SCOPED_TRACE(n);
    const std::vector<float> x = test::SeededNormal(n, n * kDim);
    std::vector<float> cpu(n * kVocabulary), gpu(n * kVocabulary, NAN);
    Linear(m.w, {x.data(), n, kDim}, {cpu.data(), n, kVocabulary}, {}, hw::Threads{1});
    output.Run({x.data(), n, kDim}, {gpu.data(), n, kVocabulary});
    // On both sides codes are exact, and their sums in blocks are floats: 2^-24 each, of 512 / 16 of them.
    EXPECT_LE(test::RelativeError(gpu, cpu), 32 * 0x1p-24);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, DeviceOutputTest,
                         testing::Values(Format::kF32, Format::kF16, Format::kQ8_0, Format::kQ4_K,
                                         Format::kQ6_K),
                         [](const auto& param_info) { return std::string(hw::Name(param_info.param)); });

TEST(DeviceOutput, MemoryIsKnownBeforehand) {
  // The 2B model's in Q6_K: 255 MB, padded rows, and logits of four tokens.
  const Weight w{.format = Format::kQ6_K, .rows = 151936, .cols = 2048};
  const PlacedOutput at = PlaceOutput(w);
  EXPECT_GE(at.bytes, w.bytes() + 4 * w.rows * sizeof(float));
  EXPECT_LT(at.bytes, w.bytes() + w.bytes() / 40);
}

TEST(DeviceOutput, RoomForLogitsIsAnnounced) {
  const Weight w{.format = Format::kF16, .rows = 151936, .cols = 2048};
  ModelConfig config;
  config.text.n_kv_heads = 1;
  config.text.head_dim = 128;
  config.text.max_seq_len = 64;
  config.text.dim = w.cols;
  config.text.vocab_size = w.rows;
  const auto announced = [&](size_t n_layers) {
    config.text.n_layers = n_layers;
    return static_cast<double>(EstimateGpuMemory(config, {}, {.gpu_layers = 1}, {}));
  };
  const double room = static_cast<double>(PlaceOutput(w).bytes - w.bytes());
  const double grown = announced(1) - announced(2);  // the output goes along with the last layer
  EXPECT_GE(grown, room);
  EXPECT_LE(grown, 1.05 * room);
}

}  // namespace
}  // namespace qwen3vl
