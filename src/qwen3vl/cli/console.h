// SPDX-License-Identifier: Apache-2.0
// What the command prints and where: results on stdout, everything else on stderr, progress bars only where
// stderr is a terminal.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

using Json = nlohmann::ordered_json;

class Console {
 public:
  Console();
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  bool verbose = false;  // also informational messages of the library

  // A piece of the result, at once. Throws Failure when stdout takes no more.
  void Out(std::string_view text);
  // One JSON document and a line end. Bytes that are not UTF-8 become U+FFFD.
  void OutJson(const Json& document, bool indented = true);

  // One line on stderr.
  void Note(std::string_view line);
  void Warn(std::string_view line);

  // For the library: warnings always, information when verbose.
  LogFn Log();
  // Draws the bar (elsewhere than on a terminal: a line a phase, when verbose) and notices Ctrl-C.
  ProgressFn Progress();
  void ClearBar();

 private:
  void Draw(const qwen3vl::Progress& progress, bool new_phase);

  bool terminal_;
  bool bar_shown_ = false;
  std::optional<Phase> phase_;
  std::chrono::steady_clock::time_point phase_start_, last_drawn_;
};

// "encode   [#####-----]  12/24 blocks  3 s": `seconds` since the phase began.
std::string RenderBar(const Progress& progress, double seconds);

}  // namespace qwen3vl::cli
