// SPDX-License-Identifier: Apache-2.0
// `qwen3vl chat`: turns in a terminal, or from a pipe.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/demo_model.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/terminal_line.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Without -m the bundled demo model answers; it knows only simple drawn scenes.

Every line is a turn; a line that ends in \ goes on in the next one. In a terminal lines can be edited, and the arrow
keys bring earlier ones back. Lines that begin with / are commands:
  /image FILE   a picture for the next question    /clear   forget the conversation
  /video DIR    a clip for the next question       /help    list these
  /quit         leave (as Ctrl-D does)
Ctrl-C stops the answer, not the program; a question without any answer yet is dropped. What a turn shares with the one
before, pictures included, is not computed again. A picture or clip gets at most a quarter of the
context unless --max-image-tokens or --max-video-tokens says otherwise. Without a terminal on stdin a question whose
picture or clip failed is not asked, and the exit code is 1 when a turn failed.

Examples:
  qwen3vl chat -m Qwen3VL-4B-Instruct-Q4_K_M.gguf
  printf '/image cat.jpg\nWhat is this?\nAnd its colour?\n' | qwen3vl chat -m model.gguf)";

constexpr const char* kHelp =
    "/image FILE, /video DIR (or F1,F2): for the next question; /clear: forget the conversation; /quit: "
    "leave";

struct ChatState {
  CommonOptions common;
  MediaOptions media;
  SamplingFlags sampling;
  GenerateOptions generate;
  std::optional<std::string> system;
};

// What is meant by the rest of a line: the file of just that name, else without the spaces and quotes that
// terminals put around a file dropped on them, and with ~/ as a shell reads it.
std::string FileName(const std::string& text) {
  std::error_code problem;
  if (std::filesystem::exists(text, problem)) return text;
  std::string name = text.substr(0, text.find_last_not_of(" \t") + 1);
  const bool quoted = name.size() > 1 && (name[0] == '\'' || name[0] == '"') && name.back() == name[0];
  if (quoted) name = name.substr(1, name.size() - 2);
  const char* home = std::getenv("HOME");
  return home && name.starts_with("~/") ? home + name.substr(1) : name;
}

class Conversation {
 public:
  Conversation(const ChatState& state, Engine& engine, Console& console)
      : state_(state), engine_(engine), console_(console), options_(state.generate) {
    options_.sampling = state.sampling.Over(engine.model.default_sampling());
    if (!state.common.json)
      options_.on_text = [this](std::string_view text) {
        console_.Out(text);
        return true;
      };
    Clear();
  }

  // False: the conversation is over.
  bool Take(const std::string& line) {
    if (line.empty()) return true;
    if (line[0] == '/') return Do(line);
    Ask(line);
    return true;
  }

  // Whether any turn or command failed.
  bool failed() const { return failed_; }

 private:
  void Clear() {
    messages_.clear();
    pending_.clear();
    lacking_.clear();
    if (state_.system) messages_.push_back(TextMessage("system", *state_.system));
  }

  bool Do(const std::string& line) {
    constexpr const char* kBlank = " \t";
    const size_t space = line.find_first_of(kBlank);
    const std::string name = line.substr(0, space);
    const size_t value_at = space == std::string::npos ? space : line.find_first_not_of(kBlank, space);
    const std::string value = value_at == std::string::npos ? "" : line.substr(value_at);
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/clear") {
      Clear();
      engine_.session.Reset();
    } else if (name == "/help") {
      console_.Note(kHelp);
    } else if (name == "/image" || name == "/video") {
      if (!Attach(name, value)) lacking_ = name + " " + value;
    } else {
      Complain(name + ": unknown; " + kHelp);
    }
    return true;
  }

  // False, after a complaint, where the picture or clip is not taken.
  bool Attach(const std::string& command, const std::string& value) {
    if (value.empty()) return Complain(command + ": want a file name after it");
    if (engine_.model.info().vision_layers == 0)
      return Complain(value +
                      ": a text-only model cannot take pictures; for a GGUF file name its vision file with "
                      "--mmproj");
    const MediaArgument argument{command == "/video", FileName(value)};
    try {
      Medium medium = LoadMedium(argument, state_.media);
      const std::string description = DescribeMedium(medium, engine_);
      size_t tokens = PlanOf(medium, engine_.session).tokens;
      for (const Medium& m : pending_) tokens += PlanOf(m, engine_.session).tokens;
      if (tokens >= engine_.session.context())
        return Complain(description + ": not taken, the context of " +
                        Plural(engine_.session.context(), "token") +
                        " has no room for it; start with --ctx or --max-image-tokens");
      console_.Note(description);
      pending_.push_back(std::move(medium));
      return true;
    } catch (const std::exception& e) {
      return Complain(e.what());
    }
  }

  void Ask(const std::string& text) {
    // A script takes the answer for one about the picture; a person has read the complaint.
    if (!lacking_.empty() && !isatty(STDIN_FILENO)) {
      Complain("not asked: '" + text + "' lacks " + lacking_ + ", which failed");
      pending_.clear();
      return lacking_.clear();
    }
    lacking_.clear();
    messages_.push_back(UserTurn(pending_, text));
    const CancelOnInterrupt guard(engine_.session);
    try {
      const Reply reply = engine_.session.Chat(messages_, options_);
      if (state_.common.json) {
        console_.OutJson(ReplyJson(reply), /*indented=*/false);
      } else {
        console_.Out("\n");
      }
      if (state_.common.verbose || reply.finish != FinishReason::kStop) console_.Note(Statistics(reply));
      if (reply.finish == FinishReason::kCancelled && reply.ids.empty()) {
        DropTurn();
      } else {
        messages_.push_back(TextMessage("assistant", reply.text));  // the template tells reasoning apart
        pending_.clear();
      }
    } catch (const Error& e) {
      const bool too_long = e.code() == ErrorCode::kInvalidArgument;
      Complain(e.what() + std::string(too_long ? "; /clear makes room" : ""));
      DropTurn();
    } catch (const std::bad_alloc&) {
      Complain("out of memory");
      DropTurn();
    }
  }

  // Forgets the question and its pictures: kept, they would make the next one fail or wait too.
  void DropTurn() {
    messages_.pop_back();
    std::string dropped = "dropped: the question";
    for (const Medium& m : pending_) dropped += ", " + m.name;
    pending_.clear();
    console_.Note(dropped);
  }

  // Returns false, for those who say so.
  bool Complain(const std::string& why) {
    failed_ = true;
    console_.Note(why);
    if (state_.common.json) console_.OutJson({{"error", why}}, /*indented=*/false);
    return false;
  }

  const ChatState& state_;
  Engine& engine_;
  Console& console_;
  GenerateOptions options_;
  std::vector<Message> messages_;
  std::vector<Medium> pending_;  // for the next question
  std::string lacking_;          // the last command that should have added to them, and failed
  bool failed_ = false;
};

constexpr size_t kTerminalLineBytes = 4095;  // Linux drops the rest of a longer one without a word

// Lines of a terminal that can be edited, or of anything else.
class TurnLines {
 public:
  TurnLines() {
    if (TerminalLine::Usable()) terminal_.emplace();
  }
  LineReader::Result Next(const char* prompt, std::string& line) {
    if (terminal_) return terminal_->Next(prompt, line);
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) std::fputs(prompt, stderr);
    return reader_.Next(line);
  }
  bool MayBeCut(const std::string& line) const {
    return !terminal_ && isatty(STDIN_FILENO) && line.size() >= kTerminalLineBytes;
  }

 private:
  std::optional<TerminalLine> terminal_;
  LineReader reader_;
};

ExitCode Talk(Conversation& conversation, Console& console) {
  // Nobody reads the complaints of a script: its exit code has to tell.
  const auto end = [&] { return conversation.failed() && !isatty(STDIN_FILENO) ? kRuntimeError : kDone; };
  TurnLines lines;
  std::string turn, line;
  bool first = true;
  bool warned = false;  // one Ctrl-C at an empty prompt says how to leave, the next one leaves
  for (;;) {
    const LineReader::Result result = lines.Next(turn.empty() ? "> " : "| ", line);
    if (result == LineReader::Result::kEnd) break;
    if (result == LineReader::Result::kInterrupted) {
      if (warned || EndAsked()) return kInterrupted;
      warned = true;
      turn.clear();
      ForgetInterrupt();
      console.Note("");
      console.Note("Ctrl-C again, Ctrl-D or /quit leaves");
      continue;
    }
    warned = false;
    if (std::exchange(first, false)) DropByteOrderMark(line);
    if (lines.MayBeCut(line)) {
      console.Note("not asked: a terminal cuts lines at " + std::to_string(kTerminalLineBytes) +
                   " bytes; end shorter ones with \\, or give long texts from a pipe");
      turn.clear();
      continue;
    }
    turn += line;
    if (turn.ends_with('\\')) {
      turn.back() = '\n';
      continue;
    }
    const bool go_on = conversation.Take(turn);
    turn.clear();
    if (EndAsked()) return kInterrupted;
    ForgetInterrupt();
    if (!go_on) return end();
  }
  if (!turn.empty()) conversation.Take(turn);
  if (isatty(STDIN_FILENO)) console.Note("");
  return end();
}

ExitCode Chat(ChatState& state, Console& console) {
  console.verbose = state.common.verbose;
  ChooseModel(state.common, console);
  Engine engine = StartEngine(state.common, {}, console);
  if (!engine.model.info().has_tokenizer)
    throw Failure(kBadFile, state.common.model + ": the model came without a tokenizer, so it cannot chat");
  state.media.sampling = engine.model.info().clip_sampling;
  SetInterruptDeadline(false);
  console.Note("ready: /help lists the commands, Ctrl-D leaves");
  Conversation conversation(state, engine, console);
  return Talk(conversation, console);
}

}  // namespace

Command AddChat(CLI::App& root) {
  const auto state = std::make_shared<ChatState>();
  state->common.session.pictures_to_fit = 2;  // a conversation seldom stays with one
  CLI::App* app = root.add_subcommand("chat", "Talks with the model, turn by turn");
  AddModelOptions(*app, state->common, /*model_required=*/false);
  app->add_option("--system", state->system, "system message before the first turn")->type_name("TEXT");
  AddPictureOptions(*app, state->media);
  AddGenerateOptions(*app, state->generate);
  AddSamplingOptions(*app, state->sampling);
  AddSessionOptions(*app, state->common);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Chat(*state, console); }};
}

}  // namespace qwen3vl::cli
