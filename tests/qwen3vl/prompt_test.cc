// SPDX-License-Identifier: Apache-2.0
// Pictures and clips as parts of a prompt: the grid that is foretold is the one that the patches have.
#include "qwen3vl/prompt.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace qwen3vl {
namespace {

class PromptTest : public testing::Test {
 protected:
  PromptTest() {
    config_.text.vocab_size = 100;
    config_.vision = VisionConfig();
    config_.ids = {.image_pad = 10, .video_pad = 11, .vision_start = 12, .vision_end = 13};
    context_.config = &config_;
    context_.preprocess.image_min_pixels = 1;
  }

  static Picture Black(size_t width, size_t height) {
    return {width, height, std::vector<uint8_t>(3 * width * height)};
  }
  static std::shared_ptr<const Clip> BlackClip(size_t n_frames, size_t width, size_t height) {
    return std::make_shared<const Clip>(
        Clip{std::vector<Picture>(n_frames, Black(width, height)), std::vector<double>(n_frames)});
  }

  ModelConfig config_;
  PromptContext context_;
};

TEST_F(PromptTest, ClipsOfOneFrameAndOfTinyFramesHaveTheGridOfTheirPatches) {
  for (const auto& clip : {BlackClip(1, 100, 64), BlackClip(4, 100, 20), BlackClip(3, 20, 20)}) {
    const Visual visual = MakeVisual(clip, context_);
    EXPECT_EQ(visual.grid, MakePatches(visual, context_, {1}).grid) << clip->frames.size();
  }
}

TEST_F(PromptTest, PlaceholdersOfNoVisualAreRefused) {
  config_.ids.video_pad = config_.ids.image_pad;  // no file may say so
  const std::vector<int32_t> ids(4, config_.ids.image_pad);
  const Visual picture = MakeVisual(std::make_shared<const Picture>(Black(64, 64)), context_);
  EXPECT_ERROR(ErrorCode::kInvalidArgument, "token at index 0 stands for",
               MakePrompt(ids, {picture}, context_));
}

}  // namespace
}  // namespace qwen3vl
