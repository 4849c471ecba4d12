// SPDX-License-Identifier: Apache-2.0
// Renders a conversation as the model's chat template does, natively: no Jinja interpreter. Which template a
// model has is recognised from its text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rope/positions.h"

namespace qwen3vl {

enum class ChatTemplate { kQwen3, kQwen3VlInstruct, kQwen3VlThinking };

// Recognises the template; an empty or unknown text counts as kQwen3VlInstruct (`known` tells).
ChatTemplate DetectChatTemplate(std::string_view jinja, bool* known = nullptr);

struct ChatPart {
  enum class Kind { kText, kImage, kVideo } kind = Kind::kText;
  std::string text;
};

struct ChatToolCall {
  std::string name;
  std::string arguments_json;  // a JSON object, or a string taken as it is
};

struct ChatMessage {
  std::string role;             // "system", "user", "assistant", "tool"
  std::vector<ChatPart> parts;  // in order, nothing between them
  std::string reasoning;        // assistant only
  std::vector<ChatToolCall> tool_calls;
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool add_vision_id = false;           // "Picture 1: " before each picture
  bool enable_thinking = true;          // kQwen3: false closes the reasoning at once
  std::vector<std::string> tools_json;  // one JSON function description each
};

// The text with one <|image_pad|> or <|video_pad|> a picture or clip.
std::string RenderChat(ChatTemplate which, const std::vector<ChatMessage>& messages,
                       const ChatOptions& options = {});

struct VideoTiming {
  std::vector<double> group_seconds;  // one a temporal group
};

// Repeats every placeholder as often as its grid has merged tokens, and writes the timestamps of clips.
// Throws Error(kInvalidArgument) when placeholders and grids differ in number.
std::string ExpandPlaceholders(std::string_view rendered, const std::vector<rope::Grid>& images,
                               const std::vector<rope::Grid>& videos, const std::vector<VideoTiming>& timings,
                               size_t merge_size);

}  // namespace qwen3vl
