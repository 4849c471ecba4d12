// SPDX-License-Identifier: Apache-2.0
// Renders a conversation as the model's chat template does, natively: no Jinja interpreter. Which template a
// model has is recognised from its text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qwen3vl/tokenizer.h"
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
  bool verbatim = false;       // true: the string; false: the object, written anew in the template's form
};

struct ChatMessage {
  std::string role;             // "system", "user", "assistant", "tool"
  std::vector<ChatPart> parts;  // in order, nothing between them; those of assistant and system: text
  std::string reasoning;        // assistant only
  std::vector<ChatToolCall> tool_calls;
  // Distinctions that only JSON makes. An empty reasoning counts as none, and the templates that know
  // reasoning then look for <think> in the text; true: it counts as given.
  bool reasoning_given = false;
  bool content_is_list = false;  // the content was an array of parts, not a string
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool add_vision_id = false;           // "Picture 1: " before each picture
  bool enable_thinking = true;          // kQwen3: false closes the reasoning at once
  std::vector<std::string> tools_json;  // one JSON function description each
};

// The text with one <|image_pad|> or <|video_pad|> a picture or clip, in segments that say who wrote them,
// for Tokenizer::Encode: the template's own words may contain all added tokens; system prompt, assistant
// turns and tool calls the ordinary ones, as models write <think> and <tool_call> themselves; what users,
// tools and tool descriptions say none. A user who types <|im_end|> then ends no turn. Without added tokens
// in the messages the ids are those of the whole text. Throws Error(kInvalidArgument) for an unknown role,
// malformed JSON, or a picture where the template knows none.
std::vector<TextSegment> RenderChatSegments(ChatTemplate which, const std::vector<ChatMessage>& messages,
                                            const ChatOptions& options = {});

struct VideoTiming {
  std::vector<double> group_seconds;  // one a temporal group
};

// Repeats every placeholder as often as its grid has merged tokens, and writes the timestamps of clips:
// <|vision_start|><|video_pad|><|vision_end|> becomes <0.5 seconds><|vision_start|>...<|vision_end|> for each
// temporal group. Throws Error(kInvalidArgument) when placeholders, grids and timings differ in number.
std::string ExpandPlaceholders(std::string_view rendered, const std::vector<rope::Grid>& images,
                               const std::vector<rope::Grid>& videos, const std::vector<VideoTiming>& timings,
                               size_t merge_size);
// Likewise; only in segments that may contain all added tokens.
std::vector<TextSegment> ExpandPlaceholders(std::span<const TextSegment> rendered,
                                            const std::vector<rope::Grid>& images,
                                            const std::vector<rope::Grid>& videos,
                                            const std::vector<VideoTiming>& timings, size_t merge_size);

}  // namespace qwen3vl
