// SPDX-License-Identifier: Apache-2.0
// The splitting rule of Qwen's tokenizer, written by hand: text is cut into words before byte-pair merging,
// and no merge crosses a cut. The rule as the reference's regular expression, alternatives in order:
//   (?i:'s|'t|'re|'ve|'m|'ll|'d)          English endings; the caseless s is also U+017F
//   [^\r\n\p{L}\p{N}]?\p{L}+              letters with at most one other character before them
//   \p{N}                                 one digit
//    ?[^\s\p{L}\p{N}]+[\r\n]*             signs with a space before and line ends behind
//   \s*[\r\n]+                            white space up to the last line end of the run
//   \s+(?!\S)                             white space but the last character before a word
//   \s+
#pragma once

#include <cstddef>
#include <string_view>

namespace qwen3vl {

// That expression, to tell whether a tokenizer.json wants this rule.
std::string_view SplitPattern();

// End of the word that begins at `begin` < text.size(). `text` must be valid UTF-8 and `begin` the end of the
// word before. Calling this from word to word looks at each character a bounded number of times.
size_t WordEnd(std::string_view text, size_t begin);

}  // namespace qwen3vl
