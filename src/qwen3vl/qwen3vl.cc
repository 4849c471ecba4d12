// SPDX-License-Identifier: Apache-2.0
// The public interface but for sessions: models, pictures, messages, and what can be said before anything
// runs.
#include "qwen3vl/qwen3vl.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "hw/cpu_info.h"
#include "qwen3vl/image.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/model.h"
#include "qwen3vl/model_files.h"
#include "qwen3vl/repack.h"
#include "qwen3vl/sampler.h"

namespace qwen3vl {

Picture LoadPicture(const std::string& path, const PictureOptions& options) {
  return LoadImage(path, options);
}

Picture DecodePicture(std::span<const uint8_t> file, const std::string& name, const PictureOptions& options) {
  return DecodeImage(file, name, options);
}

namespace {

std::string SizeText(const Picture& p) { return std::to_string(p.width) + "x" + std::to_string(p.height); }

}  // namespace

Clip LoadClip(const std::vector<std::string>& frame_files, const ClipOptions& options) {
  std::vector<size_t> take(frame_files.size());
  std::iota(take.begin(), take.end(), size_t{0});
  if (options.sample) take = SampleFrames(frame_files.size(), options.fps, options.sampling);
  constexpr double kUnknownFps = 24;  // what the reference assumes
  Clip clip;
  for (size_t index : take) {
    clip.frames.push_back(LoadImage(frame_files[index], options.picture));
    const Picture &frame = clip.frames.back(), &first = clip.frames.front();
    if (frame.width != first.width || frame.height != first.height)
      throw Error(ErrorCode::kUnsupported, frame_files[index] + ": " + SizeText(frame) + ", but " +
                                               frame_files[take.front()] + " is " + SizeText(first) +
                                               ": all frames must have one size");
    clip.seconds.push_back(static_cast<double>(index) / (options.fps > 0 ? options.fps : kUnknownFps));
  }
  return clip;
}

Clip LoadClip(const std::string& folder, const ClipOptions& options) {
  return LoadClip(ListFrames(folder), options);
}

Message UserMessage(std::string text, std::vector<Picture> pictures) {
  Message m{.role = "user"};
  for (Picture& p : pictures) m.parts.push_back({.picture = std::make_shared<const Picture>(std::move(p))});
  m.parts.push_back({.text = std::move(text)});
  return m;
}

Message TextMessage(std::string role, std::string text) {
  return {.role = std::move(role), .parts = {{.text = std::move(text)}}};
}

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      break;
  }
  return "cancelled";
}

bool HasTokenizer(const TokenizerSource& source) { return !source.folder.empty() || !source.tokens.empty(); }

ModelInfo MakeModelInfo(const ModelFiles& files) {
  const TextConfig& t = files.config.text;
  ModelInfo info{.name = files.config.name,
                 .n_layers = t.n_layers,
                 .dim = t.dim,
                 .n_heads = t.n_heads,
                 .n_kv_heads = t.n_kv_heads,
                 .head_dim = t.head_dim,
                 .vocab_size = t.vocab_size,
                 .max_seq_len = t.max_seq_len,
                 .n_experts = t.n_experts};
  for (const TensorEntry& e : files.tensors) {
    info.weight_bytes += e.bytes;
    if (HasInterleaved(e.format)) info.repackable_bytes += e.bytes;
  }
  info.has_tokenizer = HasTokenizer(files.tokenizer);
  info.thinking = DetectChatTemplate(files.tokenizer.chat_template) == ChatTemplate::kQwen3VlThinking;
  if (const auto& v = files.config.vision) {
    info.vision_layers = v->n_layers;
    info.pixels_per_token = v->patch_size * v->patch_size * v->merge_size * v->merge_size;
    const PreprocessConfig& p = files.config.preprocess;
    info.max_image_tokens = p.image_max_pixels / info.pixels_per_token;
    info.clip_sampling = {p.video_fps, p.video_min_frames, p.video_max_frames};
  }
  return info;
}

namespace {

// The ids that prompts and documents end with. Without an end id an answer goes on until its limit.
std::vector<int32_t> UsualStopIds(const Tokenizer& tokenizer, size_t vocab_size) {
  std::vector<int32_t> ids;
  for (const char* text : {"<|im_end|>", "<|endoftext|>"})
    if (const int32_t id = tokenizer.IdOf(text); id >= 0 && static_cast<size_t>(id) < vocab_size)
      ids.push_back(id);
  return ids;
}

}  // namespace

Model Model::Load(const std::string& path, const ModelOptions& options) {
  LoadModelFilesOptions load{.mmproj = options.mmproj};
  if (options.progress)
    load.progress = [&](size_t done, size_t total) { return options.progress({Phase::kLoad, done, total}); };
  hw::SelectedIsa();  // a bad QWEN3VL_ISA is an error here rather than a surprise later
  auto impl = std::make_shared<Impl>();
  impl->files = LoadModelFiles(path, load);
  const auto warn = [&](const std::string& line) {
    if (options.log) options.log(LogLevel::kWarning, line);
  };
  for (const std::string& w : impl->files.warnings) warn(w);
  const TokenizerSource& source = impl->files.tokenizer;
  if (HasTokenizer(source)) {
    impl->tokenizer = Tokenizer::Load(source);
    bool known = true;
    impl->chat_template = DetectChatTemplate(source.chat_template, &known);
    if (!known)
      warn(path + ": " + (source.chat_template.empty() ? "no chat template" : "unknown chat template") +
           ", using that of Qwen3-VL Instruct");
    ModelConfig& config = impl->files.config;
    if (config.sampling.stop_ids.empty()) {
      config.sampling.stop_ids = UsualStopIds(*impl->tokenizer, config.text.vocab_size);
      warn(path + ": no eos_token_id, " +
           (config.sampling.stop_ids.empty() ? "answers end at their limit only"
                                             : "answers end with <|im_end|> or <|endoftext|>"));
    }
  }
  const size_t all = MakeModelInfo(impl->files).weight_bytes;
  impl->repacked_bytes =
      Repack(impl->files, options.repack, hw::Threads{hw::ProbeCpu().default_threads}, [&] {
        if (load.progress && !load.progress(all, all))
          throw Error(ErrorCode::kCancelled, "loading was cancelled");
      });
  return Model(std::move(impl));
}

ModelInfo Model::info() const {
  ModelInfo info = MakeModelInfo(impl_->files);
  info.repacked_bytes = impl_->repacked_bytes;
  return info;
}

SamplingOptions Model::default_sampling() const { return ToSamplingOptions(impl_->files.config.sampling); }

namespace {

const Tokenizer& RequireTokenizer(const Model::Impl& model) {
  if (!model.tokenizer)
    throw Error(ErrorCode::kUnsupported,
                model.files.config.name + ": the model came without a tokenizer, so it takes token ids only");
  return *model.tokenizer;
}

}  // namespace

std::vector<int32_t> Model::Encode(std::string_view text) const {
  return RequireTokenizer(*impl_).Encode(text);
}
std::string Model::Decode(std::span<const int32_t> ids, bool skip_special) const {
  return RequireTokenizer(*impl_).Decode(ids, skip_special);
}
std::string Model::Piece(int32_t id) const { return RequireTokenizer(*impl_).Piece(id); }

struct TextCodec::Impl {
  Tokenizer tokenizer;
};

TextCodec TextCodec::Load(const std::string& given) {
  const std::string path = ModelAt(given);
  TokenizerSource source;
  std::error_code problem;  // is told by the one who opens what is there
  if (std::filesystem::is_directory(path, problem)) {
    source.folder = path;
  } else {
    source = LoadModelFiles(path, {.header_only = true, .text_only = true}).tokenizer;
  }
  return TextCodec(std::make_shared<const Impl>(Impl{Tokenizer::Load(source)}));
}

std::vector<int32_t> TextCodec::Encode(std::string_view text) const { return impl_->tokenizer.Encode(text); }
std::string TextCodec::Decode(std::span<const int32_t> ids, bool skip_special) const {
  return impl_->tokenizer.Decode(ids, skip_special);
}
std::string TextCodec::Piece(int32_t id) const { return impl_->tokenizer.Piece(id); }

}  // namespace qwen3vl
