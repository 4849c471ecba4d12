// SPDX-License-Identifier: Apache-2.0
// A conversation as the model reads it: token ids with expanded placeholders, the pictures and clips behind
// them, and positions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "qwen3vl/chat_prompt.h"
#include "qwen3vl/config.h"
#include "qwen3vl/image.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/tokenizer.h"
#include "rope/positions.h"

namespace qwen3vl {

// A picture or a clip of a prompt (one of the two is set) and the patch grid it will have.
struct Visual {
  std::shared_ptr<const Picture> picture;
  std::shared_ptr<const Clip> clip;
  rope::Grid grid;
  uint64_t hash = 0;  // of sizes and pixels when the visual was made: apps fill their buffers anew

  bool is_clip() const { return clip != nullptr; }
  bool SameContent(const Visual& other) const;
};

struct Prompt {
  std::vector<int32_t> ids;
  std::vector<Visual> visuals;            // in prompt order
  std::vector<rope::Position> positions;  // [ids]
  int64_t next_position = 0;              // of the first generated token

  // For every token the visual it belongs to and its row there, or kText.
  struct Source {
    size_t visual;
    size_t row;
  };
  static constexpr size_t kText = SIZE_MAX;
  std::vector<Source> sources;  // [ids]
};

// What turning a conversation into a prompt depends on.
struct PromptContext {
  const ModelConfig* config = nullptr;
  const Tokenizer* tokenizer = nullptr;
  ChatTemplate chat_template = ChatTemplate::kQwen3VlInstruct;
  PreprocessConfig preprocess;  // the config's, with the session's own bounds
};

// Grid of a picture or clip after resizing. Throws Error(kInvalidArgument) for impossible sizes.
Visual MakeVisual(std::shared_ptr<const Picture> picture, const PromptContext& context);
Visual MakeVisual(std::shared_ptr<const Clip> clip, const PromptContext& context);

// Patches of a visual, ready for the vision tower.
Patches MakePatches(const Visual& visual, const PromptContext& context, hw::Threads threads);

Prompt MakePrompt(const std::vector<Message>& messages, const GenerateOptions& options,
                  const PromptContext& context);
// From ids with expanded placeholders. Throws Error(kInvalidArgument) when ids are out of range or do not
// match the visuals.
Prompt MakePrompt(std::span<const int32_t> ids, std::vector<Visual> visuals, const PromptContext& context);

// Leading tokens that both prompts share, pictures included.
size_t SharedPrefix(const Prompt& a, const Prompt& b);

}  // namespace qwen3vl
