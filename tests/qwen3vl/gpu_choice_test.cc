// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/gpu_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl {
namespace {

using testing::HasSubstr;
using testing::Not;

GpuOffer Offer(size_t asked) {
  return {.device = "GTX 1050",
          .n_layers = 36,
          .asked = asked,
          .able = 36,
          .fitting = 36,
          .free_bytes = size_t{1800} << 20};
}

TEST(DecideGpuLayers, TakesWhatIsAskedFor) {
  EXPECT_EQ(DecideGpuLayers(Offer(10)).n_layers, 10u);
  EXPECT_EQ(DecideGpuLayers(Offer(36)).n_layers, 36u);
  EXPECT_EQ(DecideGpuLayers(Offer(1000)).n_layers, 36u);
  EXPECT_EQ(DecideGpuLayers(Offer(10)).report, "10 of 36 layers on GTX 1050");
}

TEST(DecideGpuLayers, NoMoreThanFitAndSaysSo) {
  GpuOffer offer = Offer(36);
  offer.fitting = 20;
  EXPECT_EQ(DecideGpuLayers(offer).n_layers, 20u);
  EXPECT_EQ(DecideGpuLayers(offer).report, "20 of 36 layers on GTX 1050");
  EXPECT_EQ(DecideGpuLayers(offer).short_of, "no more fit in the 1800 MiB that are free");
  offer.fitting = 0;
  EXPECT_EQ(DecideGpuLayers(offer).n_layers, 0u);
  EXPECT_THAT(DecideGpuLayers(offer).report, HasSubstr("GTX 1050 can take none, no more fit"));
}

TEST(DecideGpuLayers, NoMoreThanHaveKernels) {
  GpuOffer offer = Offer(36);
  offer.able = 4;
  offer.unable = "q3_K weights";
  EXPECT_EQ(DecideGpuLayers(offer).n_layers, 4u);
  EXPECT_EQ(DecideGpuLayers(offer).short_of, "the next has q3_K weights");
  offer.able = 0;
  EXPECT_EQ(DecideGpuLayers(offer).n_layers, 0u);
  EXPECT_THAT(DecideGpuLayers(offer).report, HasSubstr("can take none, q3_K weights"));
}

TEST(DecideGpuLayers, AutoGoesWhereALayerIsFaster) {
  GpuOffer offer = Offer(kAutoGpuLayers);
  // 512 tokens of a prompt are 8 of these: 8 * 10 + 64 * 1 = 144 ms on the CPU, 8 * 2 + 64 * 0.5 = 48 there.
  offer.times = LayerTimes{.cpu_prompt_s = 10e-3,
                           .gpu_prompt_s = 2e-3,
                           .cpu_token_s = 1e-3,
                           .gpu_token_s = 0.5e-3,
                           .prompt_tokens = 64};
  GpuDecision d = DecideGpuLayers(offer);
  EXPECT_EQ(d.n_layers, 36u);
  EXPECT_THAT(d.report, HasSubstr("a layer takes 48 ms there and 144 ms on the CPU"));
  std::swap(offer.times->cpu_prompt_s, offer.times->gpu_prompt_s);
  std::swap(offer.times->cpu_token_s, offer.times->gpu_token_s);
  d = DecideGpuLayers(offer);
  EXPECT_EQ(d.n_layers, 0u);
  EXPECT_THAT(d.report, HasSubstr("all layers on the CPU: a layer takes 48 ms there and 144 ms on the GPU"));
}

TEST(DecideGpuLayers, AnAskedNumberIsNotMeasured) {
  GpuOffer offer = Offer(5);
  offer.times = LayerTimes{.cpu_prompt_s = 1, .gpu_prompt_s = 2, .cpu_token_s = 1, .gpu_token_s = 2};
  EXPECT_EQ(DecideGpuLayers(offer).n_layers, 5u);
  EXPECT_THAT(DecideGpuLayers(offer).report, Not(HasSubstr("takes")));
}

PartOffer Tower() {
  return {.part = "the vision tower",
          .device = "GTX 1050",
          .bytes = size_t{450} << 20,
          .usable_bytes = size_t{1800} << 20};
}

TEST(DecideGpuPart, GoesThereUnmeasuredWhereItFits) {
  EXPECT_TRUE(DecideGpuPart(Tower()).take);
  EXPECT_EQ(DecideGpuPart(Tower()).report, "the vision tower on GTX 1050");
}

TEST(DecideGpuPart, StaysWhereItCannotRunOrDoesNotFit) {
  PartOffer offer = Tower();
  offer.usable_bytes = size_t{300} << 20;
  EXPECT_FALSE(DecideGpuPart(offer).take);
  EXPECT_EQ(DecideGpuPart(offer).report,
            "the vision tower on the CPU: its 450 MiB do not fit in the 300 MiB that GTX 1050 has left");
  offer.unable = "q3_K weights";
  EXPECT_EQ(DecideGpuPart(offer).report, "the vision tower on the CPU: GTX 1050 cannot run it, q3_K weights");
}

TEST(DecideGpuPart, NamesWhatItIsAbout) {
  PartOffer offer{.part = "the output matrix", .device = "GTX 1050"};
  offer.times = PartTimes{.cpu_s = 15e-3, .gpu_s = 3e-3, .piece = "it", .work = "a token"};
  EXPECT_EQ(DecideGpuPart(offer).report,
            "the output matrix on GTX 1050: it takes 3 ms there and 15 ms on the CPU for a token");
}

TEST(DecideGpuPart, MeasuredItGoesWhereABlockIsFaster) {
  PartOffer offer = Tower();
  offer.times = PartTimes{.cpu_s = 60e-3, .gpu_s = 4e-3, .piece = "a block", .work = "256 patches"};
  EXPECT_EQ(DecideGpuPart(offer).report,
            "the vision tower on GTX 1050: a block takes 4 ms there and 60 ms on the CPU for 256 patches");
  std::swap(offer.times->cpu_s, offer.times->gpu_s);
  EXPECT_FALSE(DecideGpuPart(offer).take);
  EXPECT_EQ(DecideGpuPart(offer).report,
            "the vision tower on the CPU: a block takes 4 ms there and 60 ms on GTX 1050 for 256 patches");
}

}  // namespace
}  // namespace qwen3vl
