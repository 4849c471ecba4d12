// SPDX-License-Identifier: Apache-2.0
// UTF-8, the character classes of the splitting rule, and NFC, each as the Hugging Face tokenizers library
// has them: its letters and numbers are those of Unicode 16, its NFC is of a version before 11. libutf8proc
// gives the bulk; unicode_tables.cc holds what differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qwen3vl {

// One step through bytes that may be bad UTF-8.
struct Utf8Part {
  size_t size = 0;     // bytes: a whole character, or the maximal part of a bad one
  bool valid = false;  // a whole character
  bool cut = false;    // bad only because the text ends inside it
};

// The part that begins at `pos` < text.size().
Utf8Part NextUtf8Part(std::string_view text, size_t pos);

// `text` with one U+FFFD for each maximal bad part (Unicode 16, section 3.9, as Rust and Python do it).
std::string RepairUtf8(std::string_view text);

// The character at `*pos`, which moves behind it. `text` must be valid UTF-8 and `*pos` < text.size().
char32_t NextCodePoint(std::string_view text, size_t* pos);
void AppendUtf8(char32_t code_point, std::string* out);

enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

// \p{L}, \p{N}, \s of the splitting rule; kOther for everything else.
CharClass ClassOf(char32_t code_point);

// Normalization form C. `text` must be valid UTF-8. Time is linear but for the sorting of combining marks,
// n log n in the length of one run of them.
std::string ToNfc(std::string_view text);

}  // namespace qwen3vl
