// SPDX-License-Identifier: Apache-2.0
// `qwen3vl run`: one question, one answer, streamed.
#include "qwen3vl/cli/run.h"

#include <algorithm>
#include <memory>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/demo_model.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/save_boxes.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Without -m the bundled demo model answers; it knows only simple drawn scenes.

Pictures and clips come in the order given, before the text. The answer is streamed to stdout; progress and
statistics go to stderr. Ctrl-C stops at once and keeps the text so far (exit code 130).
Unless --max-image-tokens or --max-video-tokens says otherwise, large pictures and clips are scaled down so that
together they fill at most half the context (with --input: each a quarter); a line on stderr says so.

--input LIST.jsonl answers many questions with the model loaded once. A line of the list:
  {"id": 7, "prompt": "What is this?", "images": ["cat.jpg"], "video": "frames/"}
where id, images and video may be missing, and video may be a list of frame files; names are taken from the current
folder. Each line gives one JSON line of result, with "error" instead of "text" where it failed; then the exit code
is 1. An answer does not depend on the lines before it. Lines of stdin (--input -) are answered as they come.

Examples:
  qwen3vl run --image models/demo/pictures/one.png -p "Describe the picture."
  qwen3vl run -m model.gguf --image cat.jpg -p "What is this?"
  qwen3vl run -m model.gguf --image a.png --image b.png -p "What differs?" -n 200 --temp 0
  qwen3vl run -m model.gguf --image a.png -p "Where is the cat? Answer with a box." --draw-boxes boxes.png
  qwen3vl run -m model.gguf --video frames/ --fps 30 -p "What happens?"
  git diff | qwen3vl run -m model.gguf -p -
  curl -s https://example.org/cat.jpg | qwen3vl run -m model.gguf --image - -p "What is this?"
  qwen3vl run -m model.gguf --input questions.jsonl > answers.jsonl)";

Json ResultJson(const Reply& reply, const Engine& engine, const RunState& state,
                const std::vector<Medium>& media) {
  Json out = ReplyJson(reply);
  out["seconds"]["load"] = engine.load_s;
  out["pictures"] = PicturesJson(media, engine.session);
  out["model"] = engine.model.info().name;
  out["attention"] = engine.session.attention_paths();
  out["tile"] = engine.session.tile();
  out["tile_reason"] = engine.session.tile_reason();
  out["threads"] = engine.session.threads();
  out["isa"] = ProbeMachine().isa;
  out["seed"] = state.sampling.seed.value_or(0);
  return out;
}

ExitCode RunOnce(RunState& state, Console& console) {
  const std::vector<MediaArgument> named = state.media.Items();
  CheckStdinReadOnce(named, *state.prompt == "-");
  const std::string prompt = TextArgument(*state.prompt);
  state.media.sampling = SamplingFor(named, state.common);
  const std::vector<Medium> media = LoadMedia(named, state.media);
  if (state.boxes_path && (media.size() != 1 || !media.front().part.picture))
    throw CLI::ValidationError("--draw-boxes draws onto one picture: want exactly one --image");
  if (state.boxes_path) CheckBoxesPath(*state.boxes_path, media.front().name);
  state.common.session.pictures_to_fit = media.size();
  Engine engine = StartEngine(state.common, media, console);
  const CancelOnInterrupt guard(engine.session);
  GenerateOptions options = state.generate;
  options.sampling = state.sampling.Over(engine.model.default_sampling());
  bool line_open = false;
  if (!state.common.json)
    options.on_text = [&](std::string_view text) {
      console.Out(text);
      if (!text.empty()) line_open = text.back() != '\n';
      return !Interrupted();
    };
  const Reply reply = engine.session.Chat(Conversation(state, media, prompt), options);
  if (state.common.json) {
    console.OutJson(ResultJson(reply, engine, state, media));
  } else if (line_open) {
    console.Out("\n");
  }
  console.Note(Statistics(reply) + "; attention " + engine.session.attention_paths());
  if (state.boxes_path && reply.finish != FinishReason::kCancelled)
    SaveBoxes(reply.text, *media.front().part.picture, *state.boxes_path, console);
  return reply.finish == FinishReason::kCancelled ? kInterrupted : kDone;
}

ExitCode Run(RunState& state, Console& console) {
  console.verbose = state.common.verbose;
  if (state.prompt.has_value() == state.list_path.has_value())
    throw CLI::ValidationError(state.prompt ? "-p and --input exclude each other"
                                            : "no question: want -p TEXT, -p - (stdin) or --input LIST");
  if (state.list_path && (!state.media.Items().empty() || state.boxes_path))
    throw CLI::ValidationError(
        "--input excludes --image, --video and --draw-boxes: its lines name the pictures");
  ChooseModel(state.common, console);
  return state.list_path ? RunList(state, console) : RunOnce(state, console);
}

}  // namespace

Json PicturesJson(const std::vector<Medium>& media, const Session& session) {
  Json out = Json::array();
  for (const Medium& m : media) {
    const PicturePlan plan = PlanOf(m, session);
    out.push_back(
        {{"name", m.name}, {"width", plan.width}, {"height", plan.height}, {"tokens", plan.tokens}});
  }
  return out;
}

std::vector<Message> Conversation(const RunState& state, const std::vector<Medium>& media,
                                  const std::string& prompt) {
  std::vector<Message> messages;
  if (state.system) messages.push_back(TextMessage("system", *state.system));
  messages.push_back(UserTurn(media, prompt));
  return messages;
}

Command AddRun(CLI::App& root) {
  const auto state = std::make_shared<RunState>();
  CLI::App* app = root.add_subcommand("run",
                                      "Answers one question about pictures, clips or text (or a list "
                                      "of questions)");
  AddModelOptions(*app, state->common, /*model_required=*/false);
  app->add_option("-p,--prompt", state->prompt, "the question; - reads it from stdin")->type_name("TEXT");
  AddMediaOptions(*app, state->media);
  app->add_option("--system", state->system, "system message before the question")->type_name("TEXT");
  RefuseEmpty(app->add_option("--input", state->list_path, "questions, one JSON object a line; - is stdin"))
      ->type_name("LIST");
  RefuseEmpty(app->add_option("--draw-boxes", state->boxes_path,
                              "write the picture with the boxes of the answer drawn onto it, as PNG"))
      ->type_name("OUT.png");
  AddGenerateOptions(*app, state->generate);
  AddSamplingOptions(*app, state->sampling);
  AddSessionOptions(*app, state->common);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Run(*state, console); }};
}

}  // namespace qwen3vl::cli
