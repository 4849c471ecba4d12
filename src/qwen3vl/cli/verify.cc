// SPDX-License-Identifier: Apache-2.0
// `qwen3vl verify`: every attention of a prompt on the tiled path, or on the one asked for, and on standard
// attention, compared.
#include <memory>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/prompt_input.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/deviation.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Both paths read the same queries, keys and values (the same cache, in whatever format it is kept), so they
differ by the order of float32 sums alone, or by what --cpu-products and --gpu-scores round. rel is the largest
|difference| / |standard| in the Euclidean norm over the calls of a layer, max the largest single difference.
Exit code 1 when rel of any layer is over --tolerance, and when a layer ran on standard attention alone, which
leaves nothing to compare.
Without -p and --ids a built-in text is used, or fixed token ids where the model came without a tokenizer.

Examples:
  qwen3vl verify -m model.gguf
  qwen3vl verify -m model.gguf --image cat.jpg -p "What is this?" --attention tiled --tile 64)";

constexpr const char* kDefaultText =
    "A river begins as rain on the hills. It gathers in streams, passes three old mills and a town with a "
    "stone "
    "bridge, and reaches the sea after 217 kilometres. Tell me, in one sentence, where its water comes from.";

struct VerifyState {
  CommonOptions common;
  PromptOptions prompt;
  GenerateOptions generate{.max_tokens = 4, .sampling = {}, .stop = {}, .tools_json = {}, .on_text = {}};
  double tolerance = 0;
  CLI::Option* own_tolerance = nullptr;  // --tolerance
};

std::string Scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

Json ToJson(const std::vector<LayerDeviation>& layers, const VerifyState& state, bool passed) {
  Json list = Json::array();
  for (const LayerDeviation& d : layers)
    list.push_back({{"layer", d.layer},
                    {"path", d.path},
                    {"calls", d.calls},
                    {"rel_norm", d.rel_norm},
                    {"max_abs", d.max_abs}});
  return {{"tolerance", state.tolerance}, {"passed", passed}, {"layers", list}};
}

std::string ToText(const std::vector<LayerDeviation>& layers) {
  Table table({"layer", "path", "calls", "rel", "max"}, /*first_right=*/2);
  for (const LayerDeviation& d : layers)
    table.Add({d.layer, d.path, std::to_string(d.calls), Scientific(d.rel_norm), Scientific(d.max_abs)});
  return table.Text();
}

struct Verdict {
  bool passed = false;
  std::string line;
};

Verdict Judge(const std::vector<LayerDeviation>& layers, double tolerance, const Session& session) {
  size_t standard = 0;
  const LayerDeviation* worst = nullptr;
  for (const LayerDeviation& d : layers) {
    standard += d.path == "standard";
    if (!worst || Worse(d.rel_norm, worst->rel_norm)) worst = &d;
  }
  if (!worst) return {false, "NOT verified: no attention ran"};
  if (standard)
    return {false, "NOT verified: " + std::to_string(standard) + " of " + Plural(layers.size(), "layer") +
                       " ran on standard attention alone; attention " + session.attention_paths()};
  const bool passed = worst->rel_norm <= tolerance;
  return {passed, std::string(passed ? "within" : "BEYOND") + " the tolerance of " + Scientific(tolerance) +
                      " (relative norm); worst: " + worst->layer + " with " + Scientific(worst->rel_norm)};
}

ExitCode Verify(VerifyState& state, Console& console) {
  console.verbose = state.common.verbose;
  const PromptInput prompt(state.prompt, state.common, kDefaultText);
  SessionOptions& session = state.common.session;
  session.verify = true;
  // Left to itself, attention may choose standard for short prompts.
  if (session.attention == AttentionChoice::kAuto) session.attention = AttentionChoice::kTiled;
  if (!state.own_tolerance->count()) state.tolerance = RoundsProducts(session) ? 1e-3 : 1e-4;
  Engine engine = StartEngine(state.common, prompt.media(), console);
  const CancelOnInterrupt guard(engine.session);
  state.generate.sampling = SamplingOptions{};
  state.generate.ignore_end = true;
  const Reply reply = prompt.Run(engine, state.generate);
  if (reply.finish == FinishReason::kCancelled) return kInterrupted;

  const std::vector<LayerDeviation> layers = engine.session.deviations();
  const Verdict verdict = Judge(layers, state.tolerance, engine.session);
  if (state.common.json) {
    console.OutJson(ToJson(layers, state, verdict.passed));
  } else {
    console.Out(ToText(layers));
  }
  console.Note(verdict.line);
  return verdict.passed ? kDone : kRuntimeError;
}

}  // namespace

Command AddVerify(CLI::App& root) {
  const auto state = std::make_shared<VerifyState>();
  CLI::App* app = root.add_subcommand(
      "verify", "Compares the attention path in use with standard attention, layer by layer");
  AddModelOptions(*app, state->common);
  AddPromptOptions(*app, state->prompt);
  AddCount(*app, "-n,--max-tokens", state->generate.max_tokens,
           "tokens generated after the prompt; default 4", 0);
  state->own_tolerance =
      AddReal(*app, "--tolerance", state->tolerance,
              "largest relative norm that passes; default 1e-3, without products in int16 1e-4", 0, 1);
  AddSessionOptions(*app, state->common);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Verify(*state, console); }};
}

}  // namespace qwen3vl::cli
