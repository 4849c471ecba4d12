// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/prompt.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace qwen3vl {
namespace {

void RequireVision(const PromptContext& context) {
  if (!context.config->vision)
    throw Error(ErrorCode::kUnsupported,
                context.config->name +
                    ": this model has no vision part, so it cannot take pictures; for a GGUF " +
                    "file name its mmproj file (--mmproj)");
}

void CheckPicture(const Picture& p) {
  if (p.width == 0 || p.height == 0 || p.pixels.size() != p.width * p.height * 3)
    throw Error(ErrorCode::kInvalidArgument, "picture: " + std::to_string(p.pixels.size()) + " bytes for " +
                                                 std::to_string(p.width) + " x " + std::to_string(p.height) +
                                                 " pixels, want width * height * 3");
}

// Of sizes and pixels, mixed as in MurmurHash3 for x64.
uint64_t HashOf(std::span<const Picture> frames) {
  uint64_t hash = 0;
  const auto add = [&](uint64_t word) {
    word = std::rotl(word * 0x87c37b91114253d5, 31) * 0x4cf5ad432745937f;
    hash = std::rotl(hash ^ word, 27) * 5 + 0x52dce729;
  };
  for (const Picture& p : frames) {
    add(p.width);
    add(p.height);
    for (size_t i = 0; i < p.pixels.size(); i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, &p.pixels[i], std::min(sizeof word, p.pixels.size() - i));
      add(word);
    }
  }
  return hash;
}

rope::Grid GridOf(ImageSize size, size_t groups, const VisionConfig& v) {
  return {groups, size.height / v.patch_size, size.width / v.patch_size};
}

// Fills `sources`: which row of which visual every placeholder stands for.
void BindPlaceholders(Prompt& prompt, const ModelConfig& config) {
  const size_t joined = config.vision ? config.vision->merge_size * config.vision->merge_size : 1;
  prompt.sources.assign(prompt.ids.size(), {Prompt::kText, 0});
  for (const bool clips : {false, true}) {
    size_t visual = 0, row = 0;
    for (size_t i = 0; i < prompt.ids.size(); ++i) {
      if (prompt.ids[i] != (clips ? config.ids.video_pad : config.ids.image_pad) || prompt.ids[i] < 0)
        continue;
      while (visual < prompt.visuals.size() && prompt.visuals[visual].is_clip() != clips) ++visual;
      if (visual == prompt.visuals.size())
        throw Error(ErrorCode::kInvalidArgument, "prompt: token at index " + std::to_string(i) +
                                                     " stands for a picture or clip that is not there");
      prompt.sources[i] = {visual, row++};
      const rope::Grid& g = prompt.visuals[visual].grid;
      if (row == g.t * g.h * g.w / joined) ++visual, row = 0;
    }
  }
}

std::vector<rope::Grid> Grids(const std::vector<Visual>& visuals, bool clips) {
  std::vector<rope::Grid> out;
  for (const Visual& v : visuals)
    if (v.is_clip() == clips) out.push_back(v.grid);
  return out;
}

ChatMessage ToChatMessage(const Message& m) {
  ChatMessage out{.role = m.role, .reasoning = m.reasoning};
  for (const Part& p : m.parts) {
    if (p.picture) out.parts.push_back({.kind = ChatPart::Kind::kImage});
    if (p.clip) out.parts.push_back({.kind = ChatPart::Kind::kVideo});
    if (!p.text.empty() || (!p.picture && !p.clip))
      out.parts.push_back({.kind = ChatPart::Kind::kText, .text = p.text});
  }
  for (const ToolCall& t : m.tool_calls) out.tool_calls.push_back({t.name, t.arguments_json});
  return out;
}

}  // namespace

bool Visual::SameContent(const Visual& o) const {
  return is_clip() == o.is_clip() && grid == o.grid && hash == o.hash;
}

Visual MakeVisual(std::shared_ptr<const Picture> picture, const PromptContext& context) {
  RequireVision(context);
  CheckPicture(*picture);
  const VisionConfig& v = *context.config->vision;
  const ImageSize size =
      SmartResize({picture->height, picture->width}, v.patch_size * v.merge_size,
                  context.preprocess.image_min_pixels, context.preprocess.image_max_pixels);
  const uint64_t hash = HashOf({picture.get(), 1});
  return {.picture = std::move(picture), .grid = GridOf(size, 1, v), .hash = hash};
}

Visual MakeVisual(std::shared_ptr<const Clip> clip, const PromptContext& context) {
  RequireVision(context);
  if (clip->frames.empty()) throw Error(ErrorCode::kInvalidArgument, "clip: no frames, want at least one");
  if (clip->seconds.size() != clip->frames.size())
    throw Error(ErrorCode::kInvalidArgument, "clip: " + std::to_string(clip->seconds.size()) + " times for " +
                                                 std::to_string(clip->frames.size()) +
                                                 " frames, want one each");
  for (const Picture& p : clip->frames) CheckPicture(p);
  const VisionConfig& v = *context.config->vision;
  const size_t n = clip->frames.size();
  const Picture& first = clip->frames.front();
  const ImageSize size = ClipSize(n, {first.height, first.width}, v, context.preprocess);
  const size_t groups = (n + v.temporal_patch_size - 1) / v.temporal_patch_size;
  const uint64_t hash = HashOf(clip->frames);
  return {.clip = std::move(clip), .grid = GridOf(size, groups, v), .hash = hash};
}

Patches MakePatches(const Visual& visual, const PromptContext& context, hw::Threads threads) {
  const VisionConfig& v = *context.config->vision;
  if (visual.picture) return PatchesOfImage(*visual.picture, v, context.preprocess, threads);
  return PatchesOfVideo(visual.clip->frames, v, context.preprocess, threads);
}

Prompt MakePrompt(const std::vector<Message>& messages, const GenerateOptions& options,
                  const PromptContext& context) {
  if (!context.tokenizer)
    throw Error(ErrorCode::kUnsupported,
                context.config->name + ": the model came without a tokenizer, so it takes token ids only");
  std::vector<ChatMessage> chat;
  std::vector<Visual> visuals;
  std::vector<VideoTiming> timings;
  for (const Message& m : messages) {
    chat.push_back(ToChatMessage(m));
    for (const Part& p : m.parts) {
      if (p.picture) visuals.push_back(MakeVisual(p.picture, context));
      if (!p.clip) continue;
      visuals.push_back(MakeVisual(p.clip, context));
      timings.push_back({GroupSeconds(p.clip->seconds, context.config->vision->temporal_patch_size)});
    }
  }
  const ChatOptions chat_options{.add_vision_id = options.add_vision_id,
                                 .enable_thinking = options.enable_thinking,
                                 .tools_json = options.tools_json};
  std::vector<TextSegment> text = RenderChatSegments(context.chat_template, chat, chat_options);
  if (options.trust_text)
    for (TextSegment& segment : text) segment.added_tokens = AddedTokenUse::kAll;
  const size_t merge = context.config->vision ? context.config->vision->merge_size : 1;
  text = ExpandPlaceholders(text, Grids(visuals, false), Grids(visuals, true), timings, merge);
  return MakePrompt(context.tokenizer->Encode(text), std::move(visuals), context);
}

Prompt MakePrompt(std::span<const int32_t> ids, std::vector<Visual> visuals, const PromptContext& context) {
  const ModelConfig& config = *context.config;
  if (ids.empty()) throw Error(ErrorCode::kInvalidArgument, "prompt: no tokens, want at least one");
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || static_cast<size_t>(ids[i]) >= config.text.vocab_size)
      throw Error(ErrorCode::kInvalidArgument, "prompt: token id " + std::to_string(ids[i]) + " at index " +
                                                   std::to_string(i) + ", want 0 to " +
                                                   std::to_string(config.text.vocab_size - 1));
  Prompt prompt{.ids = {ids.begin(), ids.end()}, .visuals = std::move(visuals)};
  rope::PromptPositions at = rope::PositionsOf(
      prompt.ids, Grids(prompt.visuals, false), Grids(prompt.visuals, true),
      config.vision ? config.vision->merge_size : 1, {config.ids.image_pad, config.ids.video_pad});
  prompt.positions = std::move(at.positions);
  prompt.next_position = at.next;
  BindPlaceholders(prompt, config);
  return prompt;
}

size_t SharedPrefix(const Prompt& a, const Prompt& b) {
  size_t n = 0;
  size_t same_until = SIZE_MAX;  // visuals known to be equal up to here
  const size_t limit = std::min(a.ids.size(), b.ids.size());
  for (; n < limit && a.ids[n] == b.ids[n]; ++n) {
    const Prompt::Source &x = a.sources[n], &y = b.sources[n];
    if (x.visual == Prompt::kText && y.visual == Prompt::kText) continue;
    if (x.visual != y.visual || x.row != y.row) break;
    if (same_until != SIZE_MAX && x.visual == same_until) continue;
    if (!a.visuals[x.visual].SameContent(b.visuals[y.visual])) break;
    same_until = x.visual;
  }
  return n;
}

}  // namespace qwen3vl
