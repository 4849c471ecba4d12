// SPDX-License-Identifier: Apache-2.0
// `qwen3vl trace`: the intermediate tensors of a prompt in a safetensors file, for whoever compares this
// engine with another one.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/prompt_input.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/safetensors.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(OUT.safetensors gets, as float32 unless said: input_ids, position_ids [3, N], image_grid_thw, video_grid_thw
(int32), pixel_values (of clips pixel_values_videos), vision.patch_embed, vision.pos_embed, vision.rope_angles,
vision.block.I, vision.merger, vision.deepstack.K (vision_image.* and vision_video.* where a prompt has both),
text.inputs_embeds, text.rope_cos, text.rope_sin, text.layer.I.attn, text.layer.I.router_logits (of mixtures of
experts), text.layer.I, text.layer.I.with_deepstack, text.final_norm, logits [N, vocab], and with --generate N
greedy_tokens [N] (int32) and greedy_step_logits [N, vocab]. Generation is greedy and does not stop at
an end token. The metadata name the attention paths, tile, instruction set, threads and version. The file appears
complete or not at all; its temporary form needs as much room on the disk again.

Keys and values are kept as f32 here unless --kv-type says otherwise, so that nothing is rounded on the way. Frame
lists are taken as they are; a folder of frames is sampled at the model's rate with -p, and taken whole with --ids.

Examples:
  qwen3vl trace -m model/ --ids ids.json --image a.png --generate 8 --out trace.safetensors
  qwen3vl trace -m model/ -p "What is this?" --image a.png --only logits,greedy_tokens --out logits.safetensors)";

struct TraceState {
  CommonOptions common;
  PromptOptions prompt;
  size_t generate = 0;
  std::string only, out;
};

// Which tensors are kept: all, or those that --only names (a * at the end stands for any rest).
class Selection {
 public:
  explicit Selection(const std::string& list) : names_(SplitList(list, ',')) {}

  bool Keeps(std::string_view name) {
    bool keeps = names_.empty();
    for (const std::string& wanted : names_) {
      const bool met =
          wanted.ends_with('*') ? name.starts_with(wanted.substr(0, wanted.size() - 1)) : name == wanted;
      if (!met) continue;
      met_.insert(wanted);
      keeps = true;
    }
    return keeps;
  }
  bool MetNothing() const { return !names_.empty() && met_.empty(); }
  std::vector<std::string> Unmet() const {
    std::vector<std::string> out;
    for (const std::string& name : names_)
      if (!met_.contains(name)) out.push_back(name);
    return out;
  }

 private:
  std::vector<std::string> names_;
  std::set<std::string> met_;
};

void Store(const TraceTensor& t, SafetensorsWriter& file) {
  const std::string name(t.name);
  const std::vector<size_t> shape(t.shape.begin(), t.shape.end());
  size_t count = 1;
  for (size_t n : shape) count *= n;
  if (t.f32) {
    file.Append(name, shape, std::span(t.f32, count));
  } else {
    file.Append(name, shape, std::span(t.i32, count));
  }
}

// Before hours of work: all new tokens but the last one take part in the context.
void CheckRoom(size_t prompt_tokens, size_t new_tokens, size_t context) {
  const size_t wanted = prompt_tokens + std::max<size_t>(new_tokens, 1) - 1;
  if (wanted > context)
    throw Failure(kRuntimeError, "prompt of " + Plural(prompt_tokens, "token") + " and " +
                                     Plural(new_tokens, "new token") + " need a context of " +
                                     Plural(wanted, "token") + ", which holds " + std::to_string(context) +
                                     ": raise --ctx");
}

void StoreMetadata(const Engine& engine, const TraceState& state, SafetensorsWriter& file) {
  const Session& s = engine.session;
  file.SetMetadata("version", QWEN3VL_VERSION);
  file.SetMetadata("model", engine.model.info().name);
  file.SetMetadata("attention", s.attention_paths());
  file.SetMetadata("tile", std::to_string(s.tile()));
  file.SetMetadata("tile_reason", s.tile_reason());
  file.SetMetadata("isa", ProbeMachine().isa);
  file.SetMetadata("threads", std::to_string(s.threads()));
  file.SetMetadata("chunk", std::to_string(state.common.session.prefill_chunk));
  file.SetMetadata("kv_type", std::string(Name(state.common.session.kv_type)));
}

// A name in the wrong place must not cost the model.
void RefuseModelFiles(const TraceState& state) {
  namespace fs = std::filesystem;
  std::error_code problem;
  if (!fs::is_regular_file(state.out, problem)) return;
  const CommonOptions& o = state.common;
  std::set<std::string> files = {o.model, o.mmproj};
  if (fs::is_directory(o.model, problem))
    for (const char* name :
         {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
          "merges.txt", "chat_template.json", "chat_template.jinja", "preprocessor_config.json",
          "video_preprocessor_config.json", "model.safetensors.index.json"})
      files.insert(o.model + "/" + name);
  const FileReport report =
      ReadingFiles([&] { return InspectModel(o.model, {.mmproj = o.mmproj, .session = {}}); });
  for (const FileReport::Tensor& t : report.tensors) files.insert(t.file);
  for (const std::string& file : files)
    if (fs::equivalent(file, state.out, problem))
      throw CLI::ValidationError("--out", "'" + state.out + "' is a file of the model, want another name");
}

ExitCode Trace(TraceState& state, Console& console) {
  console.verbose = state.common.verbose;
  if (state.common.model.empty()) throw CLI::RequiredError("-m MODEL");
  if (state.out.empty()) throw CLI::RequiredError("--out FILE");
  if (!state.prompt.text && !state.prompt.ids_path)
    throw CLI::ValidationError("no prompt: want -p TEXT or --ids FILE");
  const PromptInput prompt(state.prompt, state.common, "");

  RefuseModelFiles(state);
  SafetensorsWriter file(state.out);
  Selection selection(state.only);
  size_t context = 0;
  state.common.session.trace = [&](const TraceTensor& t) {
    if (t.name == "input_ids") CheckRoom(t.shape[0], state.generate, context);  // which come first
    if (selection.Keeps(t.name)) Store(t, file);
  };
  Engine engine = StartEngine(state.common, prompt.media(), console);
  context = engine.session.context();
  const CancelOnInterrupt guard(engine.session);
  GenerateOptions options;
  options.max_tokens = state.generate;
  options.sampling = SamplingOptions{};
  options.ignore_end = true;
  const Reply reply = prompt.Run(engine, options);
  if (reply.finish == FinishReason::kCancelled) return kInterrupted;
  if (state.generate && selection.Keeps("greedy_tokens"))
    file.Append("greedy_tokens", {reply.ids.size()}, std::span<const int32_t>(reply.ids));
  if (selection.MetNothing())
    throw Failure(kRuntimeError, "--only " + state.only + ": names no tensor of this run, so that " +
                                     state.out + " is not written; qwen3vl trace --help lists the names");
  for (const std::string& name : selection.Unmet())
    console.Warn("--only " + name + ": there is no such tensor");
  StoreMetadata(engine, state, file);
  SetInterruptDeadline(false);  // from here on the file is put in place, whole
  file.Finish();
  console.Note(state.out + ": written");
  console.Note(Statistics(reply));
  return kDone;
}

}  // namespace

Command AddTrace(CLI::App& root) {
  const auto state = std::make_shared<TraceState>();
  state->common.session.kv_type = KvType::kF32;
  CLI::App* app = root.add_subcommand(
      "trace",
      "Writes the intermediate tensors of a prompt into a safetensors file; `trace attention` runs "
      "attention alone");
  AddModelOptions(*app, state->common, /*model_required=*/false);
  app->remove_option(app->get_option("--json"));
  AddPromptOptions(*app, state->prompt);
  AddCount(*app, "--generate", state->generate, "tokens to generate greedily after the prompt; default 0", 0);
  RefuseEmpty(app->add_option("--only", state->only,
                              "keep these tensors alone: names with commas between, * at an end"),
              "names of tensors")
      ->type_name("NAME,NAME");
  AddPath(*app, "--out", state->out, "the file to write (required)", "FILE");
  AddSessionOptions(*app, state->common);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Trace(*state, console); }};
}

}  // namespace qwen3vl::cli
