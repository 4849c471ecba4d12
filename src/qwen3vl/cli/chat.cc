// SPDX-License-Identifier: Apache-2.0
// `qwen3vl chat`: turns in a terminal, or from a pipe.
#include <unistd.h>

#include <memory>
#include <optional>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/demo_model.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/interrupt.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Without -m the demo model answers, which comes along and knows simple drawn scenes.

Every line is a turn; a line that ends in \ goes on in the next one. Lines that begin with / are commands:
  /image FILE   a picture for the next question    /clear   forget the conversation
  /video DIR    a clip for the next question       /help    list these
  /quit         leave (as Ctrl-D does)
Ctrl-C stops the answer, not the program. What a turn shares with the one before, pictures included, is not computed
again.

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

// The turn to remember: reasoning apart from the answer, as the template wants it.
Message AssistantTurn(const std::string& text) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const size_t end = text.find(kClose);
  Message message = TextMessage("assistant", text);
  if (end == std::string::npos) return message;
  const size_t open = text.find(kOpen);
  const size_t begin = open < end ? open + kOpen.size() : 0;
  const auto trim = [](std::string s) {
    s.erase(0, std::min(s.find_first_not_of('\n'), s.size()));
    return s.substr(0, s.find_last_not_of('\n') + 1);
  };
  message.reasoning = trim(text.substr(begin, end - begin));
  message.parts.front().text = trim(text.substr(end + kClose.size()));
  return message;
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

 private:
  void Clear() {
    messages_.clear();
    pending_.clear();
    if (state_.system) messages_.push_back(TextMessage("system", *state_.system));
  }

  bool Do(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const size_t value_at = space == std::string::npos ? space : line.find_first_not_of(' ', space);
    const std::string value = value_at == std::string::npos ? "" : line.substr(value_at);
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/clear") {
      Clear();
      engine_.session.Reset();
    } else if (name == "/help") {
      console_.Note(kHelp);
    } else if ((name == "/image" || name == "/video") && !value.empty()) {
      Attach({name == "/video", value});
    } else {
      Complain(name == "/image" || name == "/video" ? name + ": want a file name after it"
                                                    : name + ": unknown; " + kHelp);
    }
    return true;
  }

  void Attach(const MediaArgument& argument) {
    if (engine_.model.info().vision_layers == 0)
      return Complain(argument.value + ": a text-only model cannot take pictures");
    try {
      Medium medium = LoadMedium(argument, state_.media);
      console_.Note(DescribeMedium(medium, engine_.session));
      pending_.push_back(std::move(medium));
    } catch (const std::exception& e) {
      Complain(e.what());
    }
  }

  void Ask(const std::string& text) {
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
      messages_.push_back(AssistantTurn(reply.text));
      pending_.clear();
    } catch (const Error& e) {  // the pictures stay for the next try
      messages_.pop_back();
      Complain(e.what());
    }
  }

  void Complain(const std::string& why) {
    console_.Note(why);
    if (state_.common.json) console_.OutJson({{"error", why}}, /*indented=*/false);
  }

  const ChatState& state_;
  Engine& engine_;
  Console& console_;
  GenerateOptions options_;
  std::vector<Message> messages_;
  std::vector<Medium> pending_;  // for the next question
};

void ShowPrompt(bool terminal, const char* text) {
  if (!terminal) return;
  std::fputs(text, stderr);
  std::fflush(stderr);
}

ExitCode Talk(Conversation& conversation, Console& console) {
  const bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
  LineReader reader;
  std::string turn, line;
  bool warned = false;  // one Ctrl-C at an empty prompt says how to leave, the next one leaves
  for (;;) {
    ShowPrompt(terminal, turn.empty() ? "> " : "| ");
    const LineReader::Result result = reader.Next(line);
    if (result == LineReader::Result::kEnd) break;
    if (result == LineReader::Result::kInterrupted) {
      if (warned) return kInterrupted;
      warned = true;
      turn.clear();
      ForgetInterrupt();
      console.Note("");
      console.Note("Ctrl-C again, Ctrl-D or /quit leaves");
      continue;
    }
    warned = false;
    turn += line;
    if (turn.ends_with('\\')) {
      turn.back() = '\n';
      continue;
    }
    const bool go_on = conversation.Take(turn);
    turn.clear();
    ForgetInterrupt();
    if (!go_on) return kDone;
  }
  if (!turn.empty()) conversation.Take(turn);
  ShowPrompt(terminal, "\n");
  return kDone;
}

ExitCode Chat(ChatState& state, Console& console) {
  console.verbose = state.common.verbose;
  ChooseModel(state.common, console);
  Engine engine = StartEngine(state.common, {}, console);
  if (!engine.model.info().has_tokenizer)
    throw Failure(kBadFile, state.common.model + ": the model came without a tokenizer, so it cannot chat");
  SetInterruptDeadline(false);
  console.Note("ready: /help lists the commands, Ctrl-D leaves");
  Conversation conversation(state, engine, console);
  return Talk(conversation, console);
}

}  // namespace

Command AddChat(CLI::App& root) {
  const auto state = std::make_shared<ChatState>();
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
