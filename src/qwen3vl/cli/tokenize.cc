// SPDX-License-Identifier: Apache-2.0
// `qwen3vl tokenize`: text to token ids and back.
#include <memory>
#include <optional>
#include <string>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(MODEL may also be a folder with nothing but tokenizer files (tokenizer.json, or vocab.json and merges.txt).
Without TEXT and --file the text is read from stdin, every byte of it. Special tokens such as <|im_end|> written in
the text become their ids. Pieces are shown as the files write them: Ġ is a space.

--decode goes back: TEXT, file or stdin are then ids with spaces or commas between them, or a JSON array.

Examples:
  qwen3vl tokenize -m model.gguf "Hello, world"
  qwen3vl tokenize -m Qwen3-VL-2B-Instruct/ --file letter.txt --json
  qwen3vl tokenize -m model.gguf --decode "9707 11 1879")";

struct TokenizeState {
  std::string model;
  std::optional<std::string> text, file;
  bool decode = false, skip_special = false, json = false;
};

ExitCode Encode(const TextCodec& codec, const std::string& text, bool json, Console& console) {
  const std::vector<int32_t> ids = codec.Encode(text);
  if (json) {
    Json pieces = Json::array();
    for (int32_t id : ids) pieces.push_back(codec.Piece(id));
    console.OutJson({{"ids", ids}, {"pieces", pieces}}, /*indented=*/false);
    return kDone;
  }
  std::string out;
  for (int32_t id : ids) out += std::to_string(id) + "\t" + OneLine(codec.Piece(id)) + "\n";
  console.Out(out);
  console.Note(Plural(ids.size(), "token"));
  return kDone;
}

ExitCode Decode(const TextCodec& codec, const std::vector<int32_t>& ids, const TokenizeState& state,
                const std::string& where, Console& console) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (codec.Piece(ids[i]).empty())
      throw Failure(kBadFile, where + ": token id " + std::to_string(ids[i]) + " at index " +
                                  std::to_string(i) + " is not in the vocabulary of " + state.model);
  const std::string text = codec.Decode(ids, state.skip_special);
  if (state.json) {
    console.OutJson({{"text", text}}, /*indented=*/false);
  } else {
    console.Out(text + "\n");
  }
  return kDone;
}

ExitCode Tokenize(const TokenizeState& state, Console& console) {
  if (state.text && state.file) throw CLI::ValidationError("TEXT and --file exclude each other");
  const TextCodec codec = ReadingFiles([&] { return TextCodec::Load(state.model); });
  const std::string text = state.text ? *state.text : ReadText(state.file.value_or("-"));
  if (!state.decode) return Encode(codec, text, state.json, console);
  const std::string where = state.file.value_or(state.text ? "TEXT" : "standard input");
  // A bad id on the command line is bad usage, one in a file is a bad file.
  try {
    return Decode(codec, ParseIds(text, where), state, where, console);
  } catch (const Failure& e) {
    if (!state.text || e.code() != kBadFile) throw;
    throw Failure(kBadUsage, e.what());
  }
}

}  // namespace

Command AddTokenize(CLI::App& root) {
  const auto state = std::make_shared<TokenizeState>();
  CLI::App* app = root.add_subcommand("tokenize", "Turns text into token ids and pieces, or ids into text");
  AddPath(*app, "-m,--model", state->model, "model, or a folder with tokenizer files", "MODEL")->required();
  app->add_option("TEXT", state->text, "the text (with --decode: the ids)");
  RefuseEmpty(app->add_option("--file", state->file, "read it from this file; - is stdin"))
      ->type_name("FILE");
  app->add_flag("--decode", state->decode, "ids to text");
  app->add_flag("--skip-special", state->skip_special, "with --decode: leave special tokens out");
  app->add_flag("--json", state->json, R"({"ids": [...], "pieces": [...]}, or {"text": ...} with --decode)");
  app->footer(kFooter);
  return {app, [state](Console& console) { return Tokenize(*state, console); }};
}

}  // namespace qwen3vl::cli
