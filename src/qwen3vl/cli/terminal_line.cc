// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/terminal_line.h"

#include <histedit.h>
#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <string_view>

#include "qwen3vl/cli/interrupt.h"

namespace qwen3vl::cli {
namespace {

constexpr int kHistoryLines = 1000;

// A character of stdin. 0 at the end, -1 on Ctrl-C: libedit's own reader would go on waiting.
int ReadCharacter(EditLine* editor, wchar_t* to) {
  std::mbstate_t state{};
  for (;;) {
    const bool ready = WaitForInput();
    if (Interrupted()) return -1;
    if (TakeContinued()) {  // the shell has changed the terminal meanwhile, which libedit does not know
      el_set(editor, EL_PREP_TERM, 0);
      el_set(editor, EL_PREP_TERM, 1);
      el_set(editor, EL_REFRESH);
    }
    if (!ready) continue;
    char byte;
    if (read(STDIN_FILENO, &byte, 1) != 1) return 0;
    const size_t used = std::mbrtowc(to, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;
    if (used == static_cast<size_t>(-1)) *to = L'?';
    return 1;
  }
}

}  // namespace

struct TerminalLine::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  const char* prompt = "";
};

bool TerminalLine::MovesCursor() {
  const char* kind = std::getenv("TERM");
  return kind && *kind && std::string_view(kind) != "dumb";
}

bool TerminalLine::Usable() { return isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && MovesCursor(); }

TerminalLine::TerminalLine() : editor_(std::make_unique<Editor>()) {
  // What the bytes of a character are, and how wide it is.
  if (!std::setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  CatchContinue();

  editor_->line = el_init("qwen3vl", stdin, stderr, stderr);
  editor_->history = history_init();
  HistEvent event;
  history(editor_->history, &event, H_SETSIZE, kHistoryLines);
  history(editor_->history, &event, H_SETUNIQUE, 1);
  el_set(editor_->line, EL_CLIENTDATA, editor_.get());
  el_set(
      editor_->line, EL_PROMPT, +[](EditLine* line) {
        Editor* editor = nullptr;
        el_get(line, EL_CLIENTDATA, &editor);
        return const_cast<char*>(editor->prompt);
      });
  el_set(editor_->line, EL_EDITOR, "emacs");
  el_set(editor_->line, EL_HIST, history, editor_->history);
  el_set(editor_->line, EL_GETCFN, ReadCharacter);
  el_source(editor_->line, nullptr);
}

TerminalLine::~TerminalLine() {
  el_end(editor_->line);
  history_end(editor_->history);
}

LineReader::Result TerminalLine::Next(const char* prompt, std::string& line) {
  editor_->prompt = prompt;
  el_set(editor_->line, EL_PREP_TERM, 1);  // before the prompt invites to type
  int length = 0;
  const char* text = el_gets(editor_->line, &length);
  if (Interrupted()) return LineReader::Result::kInterrupted;
  if (!text || length <= 0) return LineReader::Result::kEnd;
  line.assign(text, static_cast<size_t>(length));
  if (line.ends_with('\n')) line.pop_back();
  HistEvent event;
  if (!line.empty()) history(editor_->history, &event, H_ENTER, line.c_str());
  return LineReader::Result::kLine;
}

}  // namespace qwen3vl::cli
