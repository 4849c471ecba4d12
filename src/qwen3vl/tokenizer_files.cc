// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <set>

#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"
#include "qwen3vl/json_view.h"
#include "qwen3vl/tokenizer_json.h"
#include "qwen3vl/tokenizer_split.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Far above any vocabulary (Qwen's has 151 936 rows): one wrong number must not ask for gigabytes.
constexpr int64_t kMaxIds = int64_t{1} << 21;
constexpr size_t kMaxAddedBytes = 1024;

[[noreturn]] void Corrupt(const std::string& message) { throw Error(ErrorCode::kCorruptFile, message); }
[[noreturn]] void Unsupported(const std::string& message) { throw Error(ErrorCode::kUnsupported, message); }

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string_view TextOf(const hw::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.data()), file.size()};
}

void CheckId(int64_t id, const std::string& where) {
  if (id < 0 || id >= kMaxIds)
    Corrupt(where + ": id " + std::to_string(id) + ", want 0 to " + std::to_string(kMaxIds - 1));
}

void SetPiece(TokenizerData* data, int64_t id, std::string piece, const std::string& where) {
  CheckId(id, where);
  const auto at = static_cast<size_t>(id);
  if (at >= data->pieces.size()) data->pieces.resize(at + 1);
  if (!data->pieces[at].empty())
    Corrupt(where + ": id " + std::to_string(id) + " belongs to two tokens, " + Quoted(data->pieces[at]) +
            " and " + Quoted(piece));
  data->pieces[at] = std::move(piece);
}

void AddToken(TokenizerData* data, AddedToken token, const std::string& where) {
  CheckId(token.id, where);
  if (token.text.empty() || token.text.size() > kMaxAddedBytes)
    Corrupt(where + ": a text of " + std::to_string(token.text.size()) + " bytes, want 1 to " +
            std::to_string(kMaxAddedBytes));
  data->added.push_back(std::move(token));
}

void SetVocab(TokenizerData* data, TokenizerJson* parsed, const std::string& where) {
  if (parsed->vocab.empty()) Corrupt(where + ": no tokens");
  data->pieces.reserve(parsed->vocab.size());
  for (auto& [piece, id] : parsed->vocab) SetPiece(data, id, std::move(piece), where);
}

// Null when the key is absent.
const json* FindScalar(const TokenizerJson& parsed, const std::string& key) {
  const auto it = parsed.scalars.find(key);
  return it == parsed.scalars.end() ? nullptr : &it->second;
}

// Keys that must be absent, null or this value, because anything else would give other ids.
using Required = std::vector<std::pair<std::string, json>>;
const Required& RequiredScalars() {
  static const Required required = {
      {"model/type", "BPE"},
      {"model/dropout", 0},
      {"model/continuing_subword_prefix", ""},
      {"model/end_of_word_suffix", ""},
      {"model/byte_fallback", false},
      {"model/ignore_merges", false},
      {"normalizer/type", "NFC"},
      {"pre_tokenizer/type", "Sequence"},
      {"pre_tokenizer/pretokenizers/0/pattern/Regex", SplitPattern()},
      {"pre_tokenizer/pretokenizers/1/type", "ByteLevel"},
      {"pre_tokenizer/pretokenizers/1/add_prefix_space", false},
  };
  return required;
}

constexpr std::string_view kRequiredObjects[] = {"normalizer", "pre_tokenizer"};
// Of an added token: that text around it goes with it, which is not done here.
constexpr const char* kForbiddenFlags[] = {"lstrip", "rstrip", "single_word"};

// Whether what stands at `path` of a tokenizer.json is read below.
bool IsRead(std::string_view path) {
  constexpr std::string_view kAdded = "added_tokens/", kFields[] = {"id", "content", "special"};
  if (path.starts_with(kAdded)) {
    const std::string_view field = path.substr(std::min(path.find('/', kAdded.size()), path.size() - 1) + 1);
    return std::ranges::count(kFields, field) + std::ranges::count(kForbiddenFlags, field) > 0;
  }
  return std::ranges::count(kRequiredObjects, path) > 0 ||
         std::ranges::any_of(RequiredScalars(), [&](const auto& required) { return required.first == path; });
}

void CheckKind(const TokenizerJson& parsed, const std::string& file) {
  for (const std::string_view part : kRequiredObjects)  // null: a tokenizer that does without
    if (const json* found = FindScalar(parsed, std::string(part)))
      Unsupported(file + ": " + std::string(part) + " is " + Brief(*found) + ", want an object");
  for (const auto& [key, wanted] : RequiredScalars())
    if (const json* found = FindScalar(parsed, key); found && !found->is_null() && *found != wanted)
      Unsupported(file + ": " + key + " is " + Brief(*found) + ", want " + wanted.dump());
}

// The fields of one added token; `get` finds one by its name or gives null.
template <class Get>
AddedToken ParseAdded(int64_t id, const std::string& where, Get get) {
  CheckId(id, where);
  const json* content = get("content");
  if (content == nullptr || !content->is_string()) Corrupt(where + "/content: missing, want a string");
  for (const char* flag : kForbiddenFlags)
    if (const json* value = get(flag); value != nullptr && *value == true)
      Unsupported(where + "/" + flag + ": true, want false");
  const json* special = get("special");
  return {static_cast<int32_t>(id), content->get<std::string>(), special != nullptr && *special == true};
}

void ReadAddedTokens(const TokenizerJson& parsed, const std::string& file, TokenizerData* data) {
  for (size_t i = 0; i < parsed.n_added; ++i) {
    const std::string key = "added_tokens/" + std::to_string(i);
    const json* id = FindScalar(parsed, key + "/id");
    const std::string where = file + ": " + key;
    if (id == nullptr) Corrupt(where + "/id: missing, want an integer");
    if (!id->is_number_integer()) Corrupt(where + "/id: " + Brief(*id) + ", want an integer");
    AddToken(data,
             ParseAdded(id->get<int64_t>(), where,
                        [&](const char* name) { return FindScalar(parsed, key + "/" + name); }),
             where);
  }
}

// tokenizer_config.json, where there is one: added_tokens_decoder is { "ID": { "content": ..., "special": ...
// }
// }. Tokens that tokenizer.json has already stay as they are there.
void ReadAddedTokensDecoder(const fs::path& folder, TokenizerData* data) {
  const std::string file = (folder / "tokenizer_config.json").string();
  if (!Exists(file)) return;
  const json root = ReadJsonFile(file);
  if (!root.is_object()) Corrupt(file + ": not a JSON object");
  const auto decoder = root.find("added_tokens_decoder");
  if (decoder == root.end()) return;
  if (!decoder->is_object()) Corrupt(file + ": added_tokens_decoder: want an object");
  std::set<int32_t> known;
  for (const AddedToken& token : data->added) known.insert(token.id);
  for (const auto& [key, fields] : decoder->items()) {
    const std::string where = file + ": added_tokens_decoder, key " + Quoted(key);
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || !fields.is_object())
      Corrupt(where + ": want a decimal id and an object");
    AddedToken token = ParseAdded(id, where, [&f = fields](const char* name) -> const json* {
      const auto it = f.find(name);
      return it == f.end() ? nullptr : &*it;
    });
    if (!known.contains(token.id)) AddToken(data, std::move(token), where);
  }
}

TokenizerData ReadTokenizerJson(const fs::path& folder) {
  TokenizerData data;
  data.name = (folder / "tokenizer.json").string();
  const hw::MappedFile file = OpenTextFile(data.name);
  TokenizerJson parsed = ParseTokenizerJson(TextOf(file), data.name, "model/vocab", "model/merges", IsRead);
  CheckKind(parsed, data.name);
  SetVocab(&data, &parsed, data.name + ": model/vocab");
  data.merges = std::move(parsed.merges);
  ReadAddedTokens(parsed, data.name, &data);
  ReadAddedTokensDecoder(folder, &data);
  return data;
}

void ReadMergesText(const std::string& name, TokenizerData* data) {
  const hw::MappedFile file = OpenTextFile(name);
  const std::string_view text = TextOf(file);
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    data->merges.push_back(SplitMerge(line, name + ": line " + std::to_string(number)));
  }
}

TokenizerData ReadVocabAndMerges(const fs::path& folder) {
  TokenizerData data;
  data.name = (folder / "vocab.json").string();
  const hw::MappedFile file = OpenTextFile(data.name);
  TokenizerJson parsed = ParseTokenizerJson(TextOf(file), data.name, "", "-");
  SetVocab(&data, &parsed, data.name);
  ReadMergesText((folder / "merges.txt").string(), &data);
  ReadAddedTokensDecoder(folder, &data);
  return data;
}

// GGUF writers mark everything of the form <|...|> as control; Qwen's own tokenizer keeps these six in
// decoded text.
bool IsOrdinaryControl(std::string_view text) {
  constexpr std::array<std::string_view, 6> kNames = {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
                                                      "<|fim_pad|>",    "<|repo_name|>",  "<|file_sep|>"};
  return std::find(kNames.begin(), kNames.end(), text) != kNames.end();
}

TokenizerData FromGguf(const TokenizerSource& source) {
  constexpr int32_t kControl = 3, kUserDefined = 4, kUnused = 5;
  TokenizerData data;
  data.name = source.file + ": tokenizer.ggml";
  const std::string tokens = data.name + ".tokens";
  if (static_cast<int64_t>(source.tokens.size()) > kMaxIds)
    Corrupt(tokens + ": " + std::to_string(source.tokens.size()) + " tokens, want at most " +
            std::to_string(kMaxIds));
  if (source.token_types.size() != source.tokens.size())
    Corrupt(data.name + ".token_type: " + std::to_string(source.token_types.size()) + " entries, want " +
            std::to_string(source.tokens.size()) + " as there are tokens");
  data.pieces.resize(source.tokens.size());
  for (size_t i = 0; i < source.tokens.size(); ++i) {
    const int32_t type = source.token_types[i];
    const std::string& text = source.tokens[i];
    if (type == kControl || type == kUserDefined) {
      const bool special = type == kControl && !IsOrdinaryControl(text);
      AddToken(&data, {static_cast<int32_t>(i), text, special}, tokens + "[" + std::to_string(i) + "]");
    } else if (type != kUnused) {
      data.pieces[i] = text;
    }
  }
  data.merges.reserve(source.merges.size());
  for (size_t i = 0; i < source.merges.size(); ++i)
    data.merges.push_back(SplitMerge(source.merges[i], data.name + ".merges[" + std::to_string(i) + "]"));
  return data;
}

}  // namespace

TokenizerData ReadTokenizer(const TokenizerSource& source) {
  if (!source.tokens.empty()) return FromGguf(source);
  if (source.folder.empty())
    throw Error(ErrorCode::kNotFound,
                "no tokenizer: the GGUF file has no tokenizer.ggml.tokens; use a file converted with it");
  const fs::path folder(source.folder);
  if (Exists(folder / "tokenizer.json")) return ReadTokenizerJson(folder);
  if (Exists(folder / "vocab.json")) return ReadVocabAndMerges(folder);
  throw Error(ErrorCode::kNotFound, source.folder +
                                        ": no tokenizer.json, and no vocab.json with merges.txt; "
                                        "copy them from the model's repository");
}

}  // namespace qwen3vl
