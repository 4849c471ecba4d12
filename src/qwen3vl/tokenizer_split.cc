// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/tokenizer_split.h"

#include "qwen3vl/unicode.h"

namespace qwen3vl {
namespace {

// One character of the text with its class; an empty range behind the end.
struct Char {
  char32_t code = 0;
  CharClass char_class = CharClass::kOther;
  size_t begin = 0, end = 0;

  bool Exists() const { return end > begin; }
  bool Is(CharClass c) const { return Exists() && char_class == c; }
  bool IsLineEnd() const { return Exists() && (code == '\r' || code == '\n'); }
};

Char CharAt(std::string_view text, size_t pos) {
  Char c{.begin = pos, .end = pos};
  if (pos >= text.size()) return c;
  c.code = NextCodePoint(text, &c.end);
  c.char_class = ClassOf(c.code);
  return c;
}

size_t SkipClass(std::string_view text, size_t pos, CharClass char_class) {
  Char c = CharAt(text, pos);
  while (c.Is(char_class)) c = CharAt(text, c.end);
  return c.begin;
}

size_t SkipLineEnds(std::string_view text, size_t pos) {
  while (pos < text.size() && (text[pos] == '\r' || text[pos] == '\n')) ++pos;
  return pos;
}

char32_t FoldCase(char32_t c) {
  if (c >= 'A' && c <= 'Z') return c + ('a' - 'A');
  return c == 0x17F ? U's' : c;
}

// End of an English ending such as 's or 'LL; `begin` when there is none.
size_t EndingEnd(std::string_view text, size_t begin) {
  if (text[begin] != '\'') return begin;
  const Char first = CharAt(text, begin + 1);
  if (!first.Exists()) return begin;
  const char32_t a = FoldCase(first.code);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return first.end;
  const Char second = CharAt(text, first.end);
  if (!second.Exists()) return begin;
  const char32_t b = FoldCase(second.code);
  const bool two = ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l');
  return two ? second.end : begin;
}

// The last three alternatives: `begin` stands on white space.
size_t SpaceEnd(std::string_view text, size_t begin) {
  size_t after_line_end = begin;
  Char last, c = CharAt(text, begin);
  for (; c.Is(CharClass::kSpace); c = CharAt(text, c.end)) {
    if (c.IsLineEnd()) after_line_end = c.end;
    last = c;
  }
  if (after_line_end > begin) return after_line_end;
  const bool at_text_end = !c.Exists();
  return at_text_end || last.begin == begin ? last.end : last.begin;
}

}  // namespace

std::string_view SplitPattern() {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
         R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
}

size_t WordEnd(std::string_view text, size_t begin) {
  if (const size_t end = EndingEnd(text, begin); end > begin) return end;
  const Char first = CharAt(text, begin);
  if (first.Is(CharClass::kLetter)) return SkipClass(text, first.end, CharClass::kLetter);
  if (first.Is(CharClass::kNumber)) return first.end;
  const Char second = CharAt(text, first.end);
  if (!first.IsLineEnd() && second.Is(CharClass::kLetter))
    return SkipClass(text, second.end, CharClass::kLetter);
  if (first.Is(CharClass::kOther) || (first.code == ' ' && second.Is(CharClass::kOther)))
    return SkipLineEnds(text, SkipClass(text, first.end, CharClass::kOther));
  return SpaceEnd(text, begin);
}

}  // namespace qwen3vl
