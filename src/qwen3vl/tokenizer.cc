// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer.h"

#include <array>
#include <unordered_map>
#include <utility>

#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"
#include "qwen3vl/tokenizer_added.h"
#include "qwen3vl/tokenizer_bpe.h"
#include "qwen3vl/tokenizer_files.h"
#include "qwen3vl/tokenizer_split.h"
#include "qwen3vl/unicode.h"

namespace qwen3vl {
namespace {

// GPT-2's stand-ins: printable bytes are their own code points, the other 68 take U+0100 onwards.
constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char16_t, 256> MakeByteMap() {
  std::array<char16_t, 256> map{};
  char16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    map[static_cast<size_t>(byte)] = StandsForItself(byte) ? static_cast<char16_t>(byte) : next++;
  return map;
}

constexpr std::array<char16_t, 256> kByteMap = MakeByteMap();
constexpr size_t kMapEnd = 0x100 + 68;

constexpr std::array<int16_t, kMapEnd> MakeInverse() {
  std::array<int16_t, kMapEnd> inverse{};
  for (auto& byte : inverse) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) inverse[kByteMap[byte]] = static_cast<int16_t>(byte);
  return inverse;
}

constexpr std::array<int16_t, kMapEnd> kMappedByte = MakeInverse();

// The bytes that a piece stands for; its own when it is not written in stand-ins, as the reference has it.
std::string BytesOfPiece(const std::string& piece) {
  std::string bytes;
  for (size_t pos = 0; pos < piece.size();) {
    if (!NextUtf8Part(piece, pos).valid) return piece;
    const char32_t c = NextCodePoint(piece, &pos);
    if (c >= kMapEnd || kMappedByte[c] < 0) return piece;
    bytes.push_back(static_cast<char>(kMappedByte[c]));
  }
  return bytes;
}

// Words of at most this many bytes are remembered within one call; text repeats them.
constexpr size_t kMaxCachedWord = 48;
constexpr size_t kMaxCachedWords = 1 << 16;

}  // namespace

struct Tokenizer::Impl {
  struct Token {
    std::string piece, bytes;
    bool special = false;
  };
  std::vector<Token> tokens;                               // by id; an empty piece: unused
  std::unordered_map<std::string_view, int32_t> piece_id;  // views into `tokens`
  std::array<int32_t, 256> byte_id{};                      // -1: no token for this byte
  MergeTable merges;
  AddedTokens added;

  explicit Impl(TokenizerData data);
  int32_t FindPiece(std::string_view piece) const;
  int32_t PieceOfMerge(std::string_view piece, size_t rank, const std::string& name) const;
  const Token* Find(int32_t id) const;
};

Tokenizer::Impl::Impl(TokenizerData data) : merges(data.merges.size()) {
  size_t size = data.pieces.size();
  for (const AddedToken& token : data.added) size = std::max(size, static_cast<size_t>(token.id) + 1);
  tokens.resize(size);
  piece_id.reserve(data.pieces.size());
  for (size_t id = 0; id < data.pieces.size(); ++id) {
    if (data.pieces[id].empty()) continue;
    tokens[id] = {std::move(data.pieces[id]), {}, false};
    tokens[id].bytes = BytesOfPiece(tokens[id].piece);
    piece_id.emplace(tokens[id].piece, static_cast<int32_t>(id));
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(kByteMap[byte], &piece);
    byte_id[byte] = FindPiece(piece);
  }
  for (size_t rank = 0; rank < data.merges.size(); ++rank) {
    const auto& [left, right] = data.merges[rank];
    const int32_t left_id = PieceOfMerge(left, rank, data.name);
    const int32_t right_id = PieceOfMerge(right, rank, data.name);
    merges.Add(left_id, right_id, {static_cast<int32_t>(rank), PieceOfMerge(left + right, rank, data.name)});
  }
  for (const AddedToken& token : data.added) {
    Token& slot = tokens[static_cast<size_t>(token.id)];
    // A base piece may be named as an added token, too; it keeps its string, to which `piece_id` points.
    if (slot.piece != token.text) {
      if (!slot.piece.empty())
        throw Error(ErrorCode::kCorruptFile, data.name + ": added token " + Quoted(token.text) + ": id " +
                                                 std::to_string(token.id) + " belongs to " +
                                                 Quoted(slot.piece) + " already");
      slot.piece = token.text;
    }
    slot.bytes = token.text;
    slot.special = token.special;
    added.Add(token.text, token.id, token.special);
  }
}

int32_t Tokenizer::Impl::FindPiece(std::string_view piece) const {
  const auto it = piece_id.find(piece);
  return it == piece_id.end() ? -1 : it->second;
}

int32_t Tokenizer::Impl::PieceOfMerge(std::string_view piece, size_t rank, const std::string& name) const {
  const int32_t id = FindPiece(piece);
  if (id < 0)
    throw Error(ErrorCode::kCorruptFile, name + ": merge " + std::to_string(rank) + " needs " +
                                             Quoted(piece) + ", which is not in the vocabulary");
  return id;
}

const Tokenizer::Impl::Token* Tokenizer::Impl::Find(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= tokens.size()) return nullptr;
  return &tokens[static_cast<size_t>(id)];
}

namespace {

// One call of Encode: plain text is collected until an added token or the end, then turned into ids.
class Encoder {
 public:
  Encoder(const std::array<int32_t, 256>& byte_id, const MergeTable& merges, const AddedTokens& added)
      : byte_id_(byte_id), merges_(merges), added_(added) {}

  void Add(std::string_view text, AddedTokenUse use) {
    size_t pos = 0;
    if (use != AddedTokenUse::kNone) {
      while (const auto match = added_.Find(text, pos, use == AddedTokenUse::kAll)) {
        plain_.append(text.substr(pos, match->begin - pos));
        Flush();
        ids_.push_back(match->id);
        pos = match->end;
      }
    }
    plain_.append(text.substr(pos));
  }

  std::vector<int32_t> Finish() {
    Flush();
    return std::move(ids_);
  }

 private:
  void Flush() {
    if (plain_.empty()) return;
    const std::string text = ToNfc(RepairUtf8(plain_));
    plain_.clear();
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = WordEnd(text, begin);
      AddWord(std::string_view(text).substr(begin, end - begin));
      begin = end;
    }
  }

  void AddWord(std::string_view word) {
    if (word.size() > kMaxCachedWord || cache_.size() >= kMaxCachedWords) {
      Merge(word);
      ids_.insert(ids_.end(), word_.begin(), word_.end());
      return;
    }
    const auto [it, is_new] = cache_.try_emplace(std::string(word));
    if (is_new) {
      Merge(word);
      it->second = word_;
    }
    ids_.insert(ids_.end(), it->second.begin(), it->second.end());
  }

  // word_ = the ids of `word`.
  void Merge(std::string_view word) {
    word_.clear();
    for (const char byte : word)
      if (const int32_t id = byte_id_[static_cast<unsigned char>(byte)]; id >= 0) word_.push_back(id);
    merges_.Apply(&word_);
  }

  const std::array<int32_t, 256>& byte_id_;
  const MergeTable& merges_;
  const AddedTokens& added_;
  std::string plain_;
  std::vector<int32_t> ids_, word_;
  std::unordered_map<std::string, std::vector<int32_t>> cache_;
};

}  // namespace

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::Load(const TokenizerSource& source) {
  Tokenizer tokenizer;
  tokenizer.impl_ = std::make_unique<Impl>(ReadTokenizer(source));
  return tokenizer;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  Encoder encoder(impl_->byte_id, impl_->merges, impl_->added);
  encoder.Add(text, options.parse_added_tokens ? AddedTokenUse::kAll : AddedTokenUse::kNone);
  return encoder.Finish();
}

std::vector<int32_t> Tokenizer::Encode(std::span<const TextSegment> segments) const {
  Encoder encoder(impl_->byte_id, impl_->merges, impl_->added);
  for (const TextSegment& segment : segments) encoder.Add(segment.text, segment.added_tokens);
  return encoder.Finish();
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids)
    if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
  return RepairUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  const Impl::Token* token = impl_->Find(id);
  return token == nullptr ? std::string_view() : token->bytes;
}

std::string Tokenizer::Piece(int32_t id) const {
  const Impl::Token* token = impl_->Find(id);
  return token == nullptr ? std::string() : token->piece;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  const Impl::Token* token = impl_->Find(id);
  return token != nullptr && token->special;
}

int32_t Tokenizer::IdOf(std::string_view token) const {
  const int32_t id = impl_->added.IdOf(token);
  return id >= 0 ? id : impl_->FindPiece(token);
}

size_t Tokenizer::size() const { return impl_->tokens.size(); }

std::string StreamDecoder::Push(std::string_view bytes) {
  tail_ += bytes;
  size_t whole = 0;
  while (whole < tail_.size()) {
    const Utf8Part part = NextUtf8Part(tail_, whole);
    if (part.cut) break;
    whole += part.size;
  }
  std::string out = RepairUtf8(std::string_view(tail_).substr(0, whole));
  tail_.erase(0, whole);
  return out;
}

std::string StreamDecoder::Finish() { return RepairUtf8(std::exchange(tail_, {})); }

}  // namespace qwen3vl
