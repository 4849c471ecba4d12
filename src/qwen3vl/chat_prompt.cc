// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/chat_prompt.h"

#include "qwen3vl/chat_prompt_json.h"
#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

constexpr std::string_view kTurnStart = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>\n";
constexpr std::string_view kImageMarks = "<|vision_start|><|image_pad|><|vision_end|>";
constexpr std::string_view kVideoMarks = "<|vision_start|><|video_pad|><|vision_end|>";
constexpr std::string_view kThinkStart = "<think>", kThinkEnd = "</think>";

constexpr std::string_view kToolsBegin =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view kToolsEnd =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

std::string_view StripLeft(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text;
}

std::string_view StripRight(std::string_view text) { return text.substr(0, text.find_last_not_of('\n') + 1); }

std::string_view AfterLast(std::string_view text, std::string_view mark) {
  const size_t at = text.rfind(mark);
  return at == std::string_view::npos ? text : text.substr(at + mark.size());
}

// The content as one text, marks for pictures included.
std::string ContentText(const ChatMessage& message) {
  std::string text;
  for (const ChatPart& part : message.parts) {
    switch (part.kind) {
      case ChatPart::Kind::kText:
        text += part.text;
        break;
      case ChatPart::Kind::kImage:
        text += kImageMarks;
        break;
      case ChatPart::Kind::kVideo:
        text += kVideoMarks;
        break;
    }
  }
  return text;
}

// The text parts alone: what the templates take from assistant and system messages.
std::string PlainText(const ChatMessage& message) {
  std::string text;
  for (const ChatPart& part : message.parts) text += part.text;
  return text;
}

bool IsRole(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant" || role == "tool";
}

class Renderer {
 public:
  Renderer(ChatTemplate which, const std::vector<ChatMessage>& messages, const ChatOptions& options)
      : which_(which),
        reasons_(which != ChatTemplate::kQwen3VlInstruct),
        messages_(messages),
        options_(options) {}

  std::vector<TextSegment> Render() {
    Check();
    RenderSystem();
    const size_t last_query = LastQuery();
    for (size_t i = 0; i < messages_.size(); ++i) {
      const ChatMessage& message = messages_[i];
      if (message.role == "user" || (message.role == "system" && i > 0 && reasons_)) {
        Own(kTurnStart).Own(message.role).Own("\n");
        RenderContent(message);
        Own(kTurnEnd);
      } else if (message.role == "assistant") {
        RenderAssistant(i, last_query);
      } else if (message.role == "tool") {
        RenderToolResult(i);
      }
    }
    if (options_.add_generation_prompt) RenderGenerationPrompt();
    return std::move(segments_);
  }

 private:
  void Check() const {
    for (size_t i = 0; i < messages_.size(); ++i) {
      const std::string where = "message " + std::to_string(i + 1);
      if (!IsRole(messages_[i].role))
        throw Error(ErrorCode::kInvalidArgument,
                    where + ": role \"" + messages_[i].role + "\", want system, user, assistant or tool");
      for (const ChatPart& part : messages_[i].parts)
        if (which_ == ChatTemplate::kQwen3 && part.kind != ChatPart::Kind::kText)
          throw Error(ErrorCode::kInvalidArgument,
                      where +
                          ": an image or video, but the chat template Qwen3 knows text only; "
                          "use a Qwen3-VL model");
    }
  }

  Renderer& Write(std::string_view text, AddedTokenUse use) {
    if (text.empty()) return *this;
    if (segments_.empty() || segments_.back().added_tokens != use) segments_.push_back({{}, use});
    segments_.back().text += text;
    return *this;
  }
  // Words of the template itself.
  Renderer& Own(std::string_view text) { return Write(text, AddedTokenUse::kAll); }
  // Words of the model or of whoever wrote the system prompt.
  Renderer& Model(std::string_view text) { return Write(text, AddedTokenUse::kOrdinary); }
  Renderer& Foreign(std::string_view text) { return Write(text, AddedTokenUse::kNone); }

  void RenderSystem() {
    const bool system = !messages_.empty() && messages_[0].role == "system";
    if (options_.tools_json.empty() && !system) return;
    Own(kTurnStart).Own("system\n");
    if (system) Model(PlainText(messages_[0]));
    if (options_.tools_json.empty()) {
      Own(kTurnEnd);
      return;
    }
    if (system) Own("\n\n");
    Own(kToolsBegin);
    for (size_t i = 0; i < options_.tools_json.size(); ++i)
      Own("\n").Foreign(PythonJson(options_.tools_json[i], "tool " + std::to_string(i + 1)));
    Own(kToolsEnd);
  }

  void RenderContent(const ChatMessage& message) {
    for (const ChatPart& part : message.parts) {
      if (part.kind == ChatPart::Kind::kText) {
        Write(part.text, message.role == "system" ? AddedTokenUse::kOrdinary : AddedTokenUse::kNone);
      } else if (part.kind == ChatPart::Kind::kImage) {
        RenderMarks("Picture ", ++n_images_, kImageMarks);
      } else {
        RenderMarks("Video ", ++n_videos_, kVideoMarks);
      }
    }
  }

  void RenderMarks(std::string_view name, size_t number, std::string_view marks) {
    if (options_.add_vision_id) Own(name).Own(std::to_string(number)).Own(": ");
    Own(marks);
  }

  // Index of the last message in which a user asks, rather than hands over tool results. Reasoning before it
  // is dropped.
  size_t LastQuery() const {
    for (size_t i = messages_.size(); i-- > 0;) {
      if (messages_[i].role != "user") continue;
      const std::string text = ContentText(messages_[i]);
      if (!text.starts_with("<tool_response>") || !text.ends_with("</tool_response>")) return i;
    }
    return messages_.empty() ? 0 : messages_.size() - 1;
  }

  void RenderAssistant(size_t index, size_t last_query) {
    const ChatMessage& message = messages_[index];
    const std::string text = PlainText(message);
    Own(kTurnStart).Own("assistant\n");
    bool has_content = message.content_is_list ? !message.parts.empty() : !text.empty();
    if (reasons_) {
      std::string_view content = text, reasoning = message.reasoning;
      if (reasoning.empty() && !message.reasoning_given) SplitReasoning(text, &content, &reasoning);
      if (index > last_query && (index + 1 == messages_.size() || !reasoning.empty())) {
        Own("<think>\n").Model(StripLeft(StripRight(reasoning))).Own("\n</think>\n\n");
        Model(StripLeft(content));
      } else {
        Model(content);
      }
      has_content = !content.empty();
    } else {
      Model(text);
    }
    RenderToolCalls(message, has_content);
    Own(kTurnEnd);
  }

  static void SplitReasoning(std::string_view text, std::string_view* content, std::string_view* reasoning) {
    const size_t end = text.find(kThinkEnd);
    if (end == std::string_view::npos) return;
    *content = StripLeft(AfterLast(text, kThinkEnd));
    *reasoning = StripLeft(AfterLast(StripRight(text.substr(0, end)), kThinkStart));
  }

  void RenderToolCalls(const ChatMessage& message, bool has_content) {
    for (size_t i = 0; i < message.tool_calls.size(); ++i) {
      const ChatToolCall& call = message.tool_calls[i];
      if (i > 0 || has_content) Own("\n");
      Own("<tool_call>\n{\"name\": \"").Model(call.name).Own("\", \"arguments\": ");
      Model(call.verbatim ? call.arguments_json
                          : PythonJson(call.arguments_json, "arguments of tool call " + call.name));
      Own("}\n</tool_call>");
    }
  }

  // Neighbouring results share one user turn.
  void RenderToolResult(size_t index) {
    const auto is_tool = [&](size_t i) { return i < messages_.size() && messages_[i].role == "tool"; };
    if (index == 0 || !is_tool(index - 1)) Own(kTurnStart).Own("user");
    Own("\n<tool_response>\n");
    RenderContent(messages_[index]);
    Own("\n</tool_response>");
    if (!is_tool(index + 1)) Own(kTurnEnd);
  }

  void RenderGenerationPrompt() {
    Own(kTurnStart).Own("assistant\n");
    if (which_ == ChatTemplate::kQwen3VlThinking) Own("<think>\n");
    if (which_ == ChatTemplate::kQwen3 && !options_.enable_thinking) Own("<think>\n\n</think>\n\n");
  }

  const ChatTemplate which_;
  const bool reasons_;  // the template knows reasoning
  const std::vector<ChatMessage>& messages_;
  const ChatOptions& options_;
  std::vector<TextSegment> segments_;
  size_t n_images_ = 0, n_videos_ = 0;
};

}  // namespace

ChatTemplate DetectChatTemplate(std::string_view jinja, bool* known) {
  const auto has = [&](std::string_view text) { return jinja.find(text) != std::string_view::npos; };
  const bool vision = has("<|image_pad|>"), thinks = has(kThinkEnd);
  if (known != nullptr) *known = has(kTurnStart) && (vision || thinks);
  if (!has(kTurnStart)) return ChatTemplate::kQwen3VlInstruct;
  if (vision) return thinks ? ChatTemplate::kQwen3VlThinking : ChatTemplate::kQwen3VlInstruct;
  return thinks ? ChatTemplate::kQwen3 : ChatTemplate::kQwen3VlInstruct;
}

std::vector<TextSegment> RenderChatSegments(ChatTemplate which, const std::vector<ChatMessage>& messages,
                                            const ChatOptions& options) {
  return Renderer(which, messages, options).Render();
}

}  // namespace qwen3vl
