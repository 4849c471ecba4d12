// SPDX-License-Identifier: Apache-2.0
// Where the reference tokenizer library and libutf8proc 2.8 (Unicode 15) disagree; see unicode.h. Generated
// by tools/make_unicode_tables.py.
#pragma once

#include <span>

#include "qwen3vl/unicode.h"

namespace qwen3vl {

struct ClassRange {
  char32_t first, last;  // inclusive
  CharClass char_class;
};

struct CodePointRange {
  char32_t first, last;  // inclusive
};

// Code points with another class than libutf8proc says; ascending.
std::span<const ClassRange> ClassOverrides();
// Code points that the reference's NFC leaves alone and libutf8proc's would move or compose; ascending.
std::span<const CodePointRange> NfcInertRanges();

}  // namespace qwen3vl
