// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/terminal_line.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kEraseLine = "\r\033[K";

constexpr std::array<std::string_view, 4> kPhaseNames{"load", "encode", "prompt", "answer"};

std::string Amount(const Progress& p) {
  if (p.phase == Phase::kLoad) return FormatBytes(p.done) + " of " + FormatBytes(p.total);
  return std::to_string(p.done) + "/" + std::to_string(p.total) +
         (p.phase == Phase::kEncode ? " blocks" : " tokens");
}

// Without what a narrow terminal would wrap into a second line, which could not be taken back.
std::string FittedToTerminal(const std::string& line) {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return line;
  return line.substr(0, size.ws_col - 1);
}

}  // namespace

std::string RenderBar(const Progress& p, double seconds) {
  constexpr size_t kCells = 24;
  const double share =
      p.total ? std::min(1.0, static_cast<double>(p.done) / static_cast<double>(p.total)) : 1.0;
  const auto full = static_cast<size_t>(share * kCells);
  return std::string(kPhaseNames[static_cast<size_t>(p.phase)]) + " [" + std::string(full, '#') +
         std::string(kCells - full, '-') + "] " + Amount(p) + "  " + FormatNumber(seconds, 0) + " s";
}

Console::Console() : terminal_(isatty(STDERR_FILENO) && TerminalLine::MovesCursor()) {}
Console::~Console() { ClearBar(); }

void Console::Out(std::string_view text) {
  ClearBar();
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw Failure(kRuntimeError,
                  "standard output cannot be written: " + std::generic_category().message(errno));
}

void Console::OutJson(const Json& document, bool indented) {
  Out(document.dump(indented ? 2 : -1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n");
}

void Console::Note(std::string_view line) {
  ClearBar();
  const std::string text = OneLine(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void Console::Warn(std::string_view line) { Note("warning: " + std::string(line)); }

LogFn Console::Log() {
  return [this](LogLevel level, std::string_view line) {
    if (level == LogLevel::kWarning) {
      Warn(line);
    } else if (verbose) {
      Note(line);
    }
  };
}

ProgressFn Console::Progress() {
  return [this](const qwen3vl::Progress& progress) {
    const bool new_phase = phase_ != progress.phase;
    phase_ = progress.phase;
    if (terminal_) {
      Draw(progress, new_phase);
    } else if (verbose && new_phase) {
      Note("phase: " + std::string(kPhaseNames[static_cast<size_t>(progress.phase)]));
    }
    return !Interrupted();
  };
}

void Console::ClearBar() {
  if (!bar_shown_) return;
  std::fputs(kEraseLine, stderr);
  bar_shown_ = false;
}

void Console::Draw(const qwen3vl::Progress& progress, bool new_phase) {
  constexpr std::chrono::milliseconds kPause{100};
  const auto now = std::chrono::steady_clock::now();
  if (new_phase || progress.done == 0) phase_start_ = now;
  // The answer itself is the progress of the last phase.
  if (progress.phase == Phase::kDecode || progress.done >= progress.total) return ClearBar();
  if (bar_shown_ && now - last_drawn_ < kPause) return;
  last_drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - phase_start_).count();
  std::fputs((kEraseLine + FittedToTerminal(RenderBar(progress, seconds))).c_str(), stderr);
  bar_shown_ = true;
}

}  // namespace qwen3vl::cli
