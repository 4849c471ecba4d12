// SPDX-License-Identifier: Apache-2.0
// Lines typed at a terminal, with editing, arrow keys and a history of this process's lines (libedit; its
// keys are those of Emacs, or what ~/.editrc binds).
#pragma once

#include <memory>
#include <string>

#include "qwen3vl/cli/input.h"

namespace qwen3vl::cli {

class TerminalLine {
 public:
  // Whether the terminal can move its cursor, by what TERM says.
  static bool MovesCursor();
  // Whether stdin and stderr are such a terminal.
  static bool Usable();

  TerminalLine();
  ~TerminalLine();
  // Of stdin; prompt and echo go to stderr. A line of any length.
  LineReader::Result Next(const char* prompt, std::string& line);

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;
};

}  // namespace qwen3vl::cli
