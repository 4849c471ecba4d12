// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/prompt_input.h"

#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/input.h"

namespace qwen3vl::cli {
namespace {

// Ids spread over the vocabulary, for models that cannot read text.
std::vector<int32_t> FixedIds(size_t vocab_size) {
  constexpr size_t kCount = 32, kStep = 7919;
  std::vector<int32_t> ids;
  // The upper quarter is left out: that is where special tokens lie.
  const size_t range = std::max<size_t>(vocab_size / 4 * 3, 1);
  for (size_t i = 0; i < kCount; ++i) ids.push_back(static_cast<int32_t>((i + 1) * kStep % range));
  return ids;
}

}  // namespace

void AddPromptOptions(CLI::App& app, PromptOptions& o) {
  app.add_option("-p,--prompt", o.text, "the prompt, put into the chat template; - reads it from stdin")
      ->type_name("TEXT");
  RefuseEmpty(app.add_option(
                  "--ids", o.ids_path,
                  "instead: a JSON array of token ids, placeholders of pictures and clips already expanded"))
      ->type_name("FILE");
  AddMediaOptions(app, o.media);
}

PromptInput::PromptInput(const PromptOptions& options, const CommonOptions& common,
                         const std::string& default_text)
    : default_text_(default_text) {
  if (options.text && options.ids_path) throw CLI::ValidationError("-p and --ids exclude each other");
  const std::vector<MediaArgument> named = options.media.Items();
  CheckStdinReadOnce(named, options.text == "-" || options.ids_path == "-");
  if (options.text) text_ = TextArgument(*options.text);
  if (options.ids_path) {
    ids_path_ = *options.ids_path;
    ids_ = ParseIds(ReadText(ids_path_), ids_path_);
    if (ids_->empty()) throw Failure(kBadFile, ids_path_ + ": no tokens, want at least one");
  }
  MediaOptions media = options.media;
  media.whole_folders |= ids_.has_value();  // the ids say how many frames there are
  media.sampling = SamplingFor(named, common);
  media_ = LoadMedia(named, media);
}

void PromptInput::CheckIds(size_t vocab_size) const {
  for (size_t i = 0; i < ids_->size(); ++i)
    if ((*ids_)[i] < 0 || static_cast<size_t>((*ids_)[i]) >= vocab_size)
      throw Failure(kBadFile, ids_path_ + ": token id " + std::to_string((*ids_)[i]) + " at index " +
                                  std::to_string(i) + ", want 0 to " + std::to_string(vocab_size - 1));
}

Reply PromptInput::Run(Engine& engine, const GenerateOptions& options) const {
  const ModelInfo info = engine.model.info();
  if (!ids_ && (text_ || info.has_tokenizer || !media_.empty()))
    return engine.session.Chat({UserTurn(media_, text_.value_or(default_text_))}, options);
  if (ids_) CheckIds(info.vocab_size);
  std::vector<Picture> pictures;
  std::vector<Clip> clips;
  for (const Medium& m : media_) {
    if (m.part.picture) pictures.push_back(*m.part.picture);
    if (m.part.clip) clips.push_back(*m.part.clip);
  }
  try {
    return engine.session.Complete(ids_ ? *ids_ : FixedIds(info.vocab_size), pictures, clips, options);
  } catch (const Error& e) {
    // What is left to refuse, as the ids are in the vocabulary and the context holds them: their
    // placeholders.
    const bool placeholders =
        ids_ && e.code() == ErrorCode::kInvalidArgument && ids_->size() <= engine.session.context();
    if (!placeholders) throw;
    throw Failure(kBadFile, ids_path_ + ": " + e.what() +
                                "; give --image or --video for each picture or clip that the ids stand for");
  }
}

}  // namespace qwen3vl::cli
