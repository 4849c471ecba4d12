// SPDX-License-Identifier: Apache-2.0
// `qwen3vl inspect`: what a model's files hold and what running them takes, read from their headers alone.
#include <map>
#include <memory>
#include <string>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Nothing is loaded: only headers are read. The memory is that of a run with the given context,
cache format and largest picture, which is shrunk as `run` would shrink it.

Examples:
  qwen3vl inspect Qwen3VL-4B-Instruct-Q4_K_M.gguf
  qwen3vl inspect Qwen3-VL-8B-Instruct/ --ctx 32768 --kv-type q8_0 --image-size 1920x1080
  qwen3vl inspect model.gguf --tensors)";

struct InspectState {
  CommonOptions common;
  std::string positional, image_size = "1024x1024";
  bool tensors = false;
};

struct TypeSum {
  size_t count = 0, bytes = 0;
};

std::map<std::string, TypeSum> SumByType(const FileReport& report) {
  std::map<std::string, TypeSum> sums;
  for (const FileReport::Tensor& t : report.tensors) {
    ++sums[t.format].count;
    sums[t.format].bytes += t.bytes;
  }
  return sums;
}

Json ToJson(const FileReport& r, const InspectState& state) {
  const ModelInfo& i = r.info;
  Json config = Json::object(), types = Json::object();
  for (const auto& [name, value] : r.config) config[name] = value;
  for (const auto& [format, sum] : SumByType(r))
    types[format] = {{"tensors", sum.count}, {"bytes", sum.bytes}};
  Json out = {{"name", i.name},
              {"n_layers", i.n_layers},
              {"dim", i.dim},
              {"n_heads", i.n_heads},
              {"n_kv_heads", i.n_kv_heads},
              {"head_dim", i.head_dim},
              {"vocab_size", i.vocab_size},
              {"max_seq_len", i.max_seq_len},
              {"n_experts", i.n_experts},
              {"vision_layers", i.vision_layers},
              {"has_tokenizer", i.has_tokenizer},
              {"thinking", i.thinking},
              {"config", config},
              {"types", types},
              {"memory",
               {{"weights_bytes", r.memory.weights},
                {"kv_cache_bytes", r.memory.kv_cache},
                {"image_stage_bytes", r.memory.image_stage},
                {"text_stage_bytes", r.memory.text_stage},
                {"gpu_bytes", r.memory.gpu},
                {"total_bytes", r.memory.total()},
                {"context", ContextTokens(state.common.session, i)},
                {"image_tokens", r.image_tokens},
                {"available_bytes", ProbeMachine().memory_available_bytes}}},
              {"warnings", r.warnings}};
  if (!state.tensors) return out;
  out["tensors"] = Json::array();
  for (const FileReport::Tensor& t : r.tensors)
    out["tensors"].push_back(
        {{"name", t.name}, {"format", t.format}, {"shape", t.shape}, {"bytes", t.bytes}, {"file", t.file}});
  return out;
}

std::string ConfigText(const FileReport& r) {
  Table table({r.info.name, ""}, /*first_right=*/2);
  for (const auto& [name, value] : r.config) table.Add({"  " + name, value});
  table.Add({"  tokenizer", r.info.has_tokenizer ? "yes" : "no: takes token ids only"});
  table.Add({"  reasons first", r.info.thinking ? "yes" : "no"});
  return table.Text();
}

std::string TypesText(const FileReport& r) {
  Table table({"weights", "tensors", "bytes"});
  for (const auto& [format, sum] : SumByType(r))
    table.Add({"  " + format, std::to_string(sum.count), FormatBytes(sum.bytes)});
  return table.Text();
}

std::string MemoryText(const FileReport& r, const InspectState& state) {
  const SessionOptions& s = state.common.session;
  const size_t available = ProbeMachine().memory_available_bytes;
  const size_t context = ContextTokens(s, r.info);
  Table table({"memory to run", "bytes"});
  table.Add({"  weights (mapped from the file)", FormatBytes(r.memory.weights)});
  table.Add({"  keys and values, " + Plural(context, "token") + " as " + std::string(Name(s.kv_type)),
             FormatBytes(r.memory.kv_cache)});
  if (r.info.vision_layers)
    table.Add({"  picture of " + state.image_size + ", " + Plural(r.image_tokens, "token") +
                   (r.image_tokens >= context ? ": more than the context holds" : ""),
               FormatBytes(r.memory.image_stage)});
  table.Add({"  text, chunks of " + Plural(s.prefill_chunk, "token"), FormatBytes(r.memory.text_stage)});
  table.Add({"  together", FormatBytes(r.memory.total())});
  table.Add({"  free on this machine" + std::string(r.memory.total() > available ? ": too little" : ""),
             FormatBytes(available)});
  if (r.memory.gpu)
    table.Add({s.gpu_layers == kAutoGpuLayers ? "  on a GPU, if everything fits there" : "  on a GPU",
               FormatBytes(r.memory.gpu)});
  return table.Text();
}

std::string TensorsText(const FileReport& r) {
  Table table({"tensor", "format", "shape", "bytes"}, /*first_right=*/3);
  for (const FileReport::Tensor& t : r.tensors)
    table.Add({t.name, t.format, FormatShape(t.shape), std::to_string(t.bytes)});
  return table.Text();
}

ExitCode Inspect(InspectState& state, Console& console) {
  CommonOptions& o = state.common;
  if (!o.model.empty() && !state.positional.empty())
    throw CLI::ValidationError("MODEL: given as '" + state.positional + "' and with -m, want one of them");
  if (o.model.empty()) o.model = state.positional;
  if (o.model.empty()) throw CLI::RequiredError("MODEL");
  const auto [width, height] = ParseSize("--image-size", state.image_size);
  // A first look without the options tells a bad file from bad usage.
  const ModelInfo info =
      ReadingFiles([&] { return InspectModel(o.model, {.mmproj = o.mmproj, .session = {}}).info; });
  o.session.pictures_to_fit = 1;  // as in `run` with that picture
  const FileReport report = TakingOptions([&, w = width, h = height] {
    return InspectModel(o.model,
                        {.mmproj = o.mmproj, .session = o.session, .image_width = w, .image_height = h});
  });
  if (o.json) {
    console.OutJson(ToJson(report, state));
    return kDone;
  }
  for (const std::string& warning : report.warnings) console.Warn(warning);
  console.Out(ConfigText(report) + "\n" + TypesText(report) + "\n" + MemoryText(report, state));
  if (state.tensors) console.Out("\n" + TensorsText(report));
  return kDone;
}

}  // namespace

Command AddInspect(CLI::App& root) {
  const auto state = std::make_shared<InspectState>();
  CLI::App* app = root.add_subcommand(
      "inspect", "Shows a model's configuration, its tensors by type, and the memory a run will need");
  app->add_option("MODEL", state->positional, "Hugging Face folder or GGUF file (also as -m)");
  AddModelOptions(*app, state->common, /*model_required=*/false);
  AddSessionOptions(*app, state->common);
  app->add_option("--image-size", state->image_size, "largest picture, in pixels; default 1024x1024")
      ->type_name("WxH");
  app->add_flag("--tensors", state->tensors, "list every tensor");
  app->footer(kFooter);
  return {app, [state](Console& console) { return Inspect(*state, console); }};
}

}  // namespace qwen3vl::cli
