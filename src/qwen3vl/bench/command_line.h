// SPDX-License-Identifier: Apache-2.0
// The words of the command lines that repeat a row.
#pragma once

#include <string>
#include <string_view>

namespace qwen3vl::bench {

// `text` as a shell reads it back: as it is where no character has a meaning there, else in quotes.
inline std::string ShellWord(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace qwen3vl::bench
