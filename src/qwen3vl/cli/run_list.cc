// SPDX-License-Identifier: Apache-2.0
// `qwen3vl run --input`: many questions, the model loaded once.
#include <optional>
#include <sstream>

#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/run.h"

namespace qwen3vl::cli {
namespace {

struct Question {
  size_t line = 0;  // in the list, from 1
  Json id;
  std::string prompt;
  std::vector<MediaArgument> media;
  std::string error;  // why the line cannot be understood
};

std::vector<std::string> Strings(const Json& line, const char* key) {
  if (!line.contains(key)) return {};
  const Json& value = line[key];
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) throw Failure(kBadFile, std::string(key) + ": want a text or a list of texts");
  std::vector<std::string> out;
  for (const Json& item : value) {
    if (!item.is_string()) throw Failure(kBadFile, std::string(key) + ": want a text or a list of texts");
    out.push_back(item.get<std::string>());
  }
  return out;
}

void Understand(const std::string& text, Question& q) {
  const Json line = ParseJson(text, "line " + std::to_string(q.line));
  if (!line.is_object()) throw Failure(kBadFile, "want an object with \"prompt\"");
  if (line.contains("id")) q.id = line["id"];
  if (!line.contains("prompt") || !line["prompt"].is_string()) throw Failure(kBadFile, "prompt: want a text");
  for (const auto& [key, value] : line.items())
    if (key != "id" && key != "prompt" && key != "images" && key != "video")
      throw Failure(kBadFile, "'" + key + "': unknown key, want id, prompt, images or video");
  q.prompt = line["prompt"].get<std::string>();
  for (const std::string& file : Strings(line, "images")) q.media.push_back({false, file});
  std::string frames;
  for (const std::string& file : Strings(line, "video")) frames += (frames.empty() ? "" : ",") + file;
  if (!frames.empty()) q.media.push_back({true, frames});
}

// The lines of a list: those of a file are read first, so that a missing one is found before the model is
// loaded; those of stdin as they come, so that another program can ask on.
class ListLines {
 public:
  explicit ListLines(const std::string& path)
      : standard_(path == "-"), file_(standard_ ? "" : ReadText(path)) {}

  LineReader::Result Next(std::string& line) {
    if (standard_) return stdin_.Next(line);
    return std::getline(file_, line) ? LineReader::Result::kLine : LineReader::Result::kEnd;
  }

 private:
  bool standard_;
  LineReader stdin_;
  std::istringstream file_;
};

Question ReadQuestion(const std::string& text, size_t number) {
  Question q;
  q.line = number;
  try {
    Understand(text, q);
  } catch (const Failure& e) {
    q.error = e.what();
  }
  return q;
}

struct Outcome {
  Json result;
  bool failed = false, cancelled = false;
};

Outcome Answer(const Question& q, const RunState& state, const GenerateOptions& options, Engine& engine,
               Console& console) {
  Outcome out;
  out.result = {{"id", q.id}, {"line", q.line}};
  const auto fail = [&](const std::string& why) {
    out.failed = true;
    out.result["error"] = why;
  };
  if (!q.error.empty()) {
    fail(q.error);
    return out;
  }
  try {
    const std::vector<Medium> media = LoadMedia(q.media, state.media);
    for (const Medium& m : media)
      console.Note("line " + std::to_string(q.line) + ": " + DescribeMedium(m, engine));
    const Reply reply = engine.session.Chat(Conversation(state, media, q.prompt), options);
    out.result.update(ReplyJson(reply));
    out.result["pictures"] = PicturesJson(media, engine.session);
    out.cancelled = reply.finish == FinishReason::kCancelled;
  } catch (const Error& e) {
    fail(e.what());
    out.cancelled = e.code() == ErrorCode::kCancelled;
  } catch (const std::bad_alloc&) {
    fail("out of memory");
  } catch (const Failure& e) {
    fail(e.what());
  }
  return out;
}

}  // namespace

ExitCode RunList(RunState& state, Console& console) {
  ListLines lines(*state.list_path);
  state.common.session.pictures_to_fit = 2;  // of a line; how many they have is not known yet
  Engine engine = StartEngine(state.common, {}, console);
  state.media.sampling = engine.model.info().clip_sampling;
  const CancelOnInterrupt guard(engine.session);
  GenerateOptions options = state.generate;
  options.sampling = state.sampling.Over(engine.model.default_sampling());
  options.reproducible = true;  // an answer does not depend on the lines before
  size_t failures = 0, done = 0;
  std::string text;
  LineReader::Result read;
  for (size_t number = 1; (read = lines.Next(text)) == LineReader::Result::kLine; ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Outcome outcome = Answer(ReadQuestion(text, number), state, options, engine, console);
    console.OutJson(outcome.result, /*indented=*/false);
    if (outcome.cancelled) return kInterrupted;
    failures += outcome.failed;
    ++done;
  }
  if (read == LineReader::Result::kInterrupted) return kInterrupted;
  console.Note(std::to_string(done) + " answered or reported, " + std::to_string(failures) +
               " of them failed");
  return failures ? kRuntimeError : kDone;
}

}  // namespace qwen3vl::cli
