// SPDX-License-Identifier: Apache-2.0
// Texts and JSON that a subcommand reads from files or from stdin.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "qwen3vl/cli/console.h"

namespace qwen3vl::cli {

// The whole file, or of stdin when `path` is "-". Throws Failure(kBadFile), also beyond 1 GiB;
// Error(kCancelled) on Ctrl-C.
std::string ReadText(const std::string& path);
// "-" stands for stdin, of which one line end at the end is dropped; anything else is the text itself.
std::string TextArgument(const std::string& text);

// Throws Failure(kBadFile) naming `where` and the place in the text; also for what CheckJson refuses.
Json ParseJson(const std::string& text, const std::string& where);
// Drops the mark that some editors put before a text in UTF-8.
void DropByteOrderMark(std::string& text);
// Token ids from [1, 2, 3] (also {"ids": [...]}), or from numbers with spaces or commas between them.
std::vector<int32_t> ParseIds(std::string text, const std::string& where);

// One line of a stream of text that may stop on Ctrl-C.
class LineReader {
 public:
  enum class Result { kLine, kEnd, kInterrupted };
  // Of stdin. The line comes without its end. Throws Failure(kBadFile) where stdin cannot be read, and for a
  // line of more than 1 GiB.
  Result Next(std::string& line);

 private:
  std::string buffer_;
  size_t searched_ = 0;  // so much of the buffer has no line end
  bool ended_ = false;
};

}  // namespace qwen3vl::cli
