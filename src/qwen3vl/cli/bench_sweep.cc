// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench sweep`: attention of a layer, or a whole model, against length.
#include <memory>

#include "qwen3vl/bench/model.h"
#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/bench_model_options.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Without -m: attention of a preset's layer. A prompt of each of --lengths on the tiled and on the standard path, and on
standard attention that hands out its weights, whose memory grows with the square of the length; then one step of
generation on a cache of each of --contexts. With -m: the whole model, with each of --depths in its cache before.

Examples:
  qwen3vl bench sweep --isa avx2 --format markdown
  qwen3vl bench sweep --preset qwen3vl-8b.vision --lengths 256,1024,4096 --attention tiled
  qwen3vl bench sweep -m model.gguf --depths 0,1024,4096,16384)";

struct State {
  BenchOptions bench;
  CommonOptions common;
  bench::LayerOptions layer;
  bench::ModelOptionsBench model;
};

std::vector<bench::AttentionForm> Paths(const SessionOptions& session) {
  using enum bench::AttentionForm;
  const AttentionChoice choice = session.attention;
  const bench::AttentionForm tiled = RoundsProducts(session) ? kInt16 : kTiled;
  if (choice == AttentionChoice::kStandard) return {kStandard, kWeights};
  if (choice == AttentionChoice::kTiled) return {tiled};
  if (choice == AttentionChoice::kAuto) return {tiled, kStandard, kWeights};
  throw CLI::ValidationError("--attention", "'cuda', want auto, tiled or standard where no model is given");
}

// Options that would be looked at with a model, or without one, only.
void RefuseIdle(const CLI::App& app, bool has_model) {
  const auto refuse = [&](std::initializer_list<const char*> names, const char* why) {
    for (const char* name : names)
      if (app.count(name)) throw CLI::ValidationError(name, why);
  };
  if (has_model)
    refuse({"--preset", "--lengths", "--contexts", "--max-standard"}, "is for layers, want no -m beside it");
  else
    refuse({"--mmproj", "--gpu-layers", "--gpu-vision", "--gpu-scores", "--chunk", "--exact", "--depths",
            "--prompt", "--generate"},
           "is for whole models, want -m MODEL with it");
}

ExitCode SweepLayers(State& state, Console& console) {
  bench::LayerOptions& layer = state.layer;
  layer.paths = Paths(state.common.session);
  layer.tile = state.common.session.tile;
  layer.use_tuning = state.common.session.use_tuning;
  layer.cache_type = state.common.session.kv_type;
  layer.threads = state.bench.threads;
  return RunBench(state.bench, console,
                  [&](const std::string& isa, const bench::MeasureOptions& how, bench::PeakMeter* peaks,
                      const Sink& sink) {
                    layer.command_tail = state.bench.CommandTail(isa);
                    TakingOptions([&] { bench::RunLayers(layer, how, peaks, sink); });
                  });
}

ExitCode SweepModel(State& state, Console& console) {
  return RunWholeModel(state.common, state.bench, state.model, console, bench::RunModel);
}

}  // namespace

Command AddBenchSweep(CLI::App& bench) {
  constexpr size_t kMaxLength = size_t{1} << 20;
  const auto state = std::make_shared<State>();
  state->layer.presets = {"qwen3vl-4b.text"};
  state->layer.kinds = {"attention"};
  state->layer.lengths = {128, 256, 512, 1024, 2048, 4096};
  state->layer.contexts = {512, 1024, 2048, 4096, 8192, 16384, 32768};
  state->layer.max_standard_flop = 2e10;
  state->model.depths = {0, 512, 1024, 2048, 4096, 8192};
  state->model.prompt_tokens = 128;
  state->model.generate_tokens = 16;
  CLI::App* app = bench.add_subcommand("sweep", "Measures attention, or a whole model, against length");
  AddWholeModelOptions(*app, state->common, state->bench, /*model_required=*/false);
  AddWords(*app, "--preset", state->layer.presets, "layers to measure; default qwen3vl-4b.text", "NAME,NAME");
  AddCounts(*app, "--lengths", state->layer.lengths, "of prompts; default 128 to 4096", 1, kMaxLength);
  AddCounts(*app, "--contexts", state->layer.contexts, "keys of a step; default 512 to 32768", 1, kMaxLength);
  AddMaxStandard(*app, state->layer);
  AddCounts(*app, "--depths", state->model.depths, "with -m: tokens in the cache before; default 0 to 8192",
            0, kMaxLength);
  AddCount(*app, "--prompt", state->model.prompt_tokens, "with -m: tokens of a prompt; default 128", 1,
           kMaxLength);
  AddCount(*app, "--generate", state->model.generate_tokens, "with -m: tokens generated; default 16", 1,
           kMaxLength);
  app->footer(kFooter);
  return {app, [state, app](Console& console) {
            const bool has_model = !state->common.model.empty();
            RefuseIdle(*app, has_model);
            return has_model ? SweepModel(*state, console) : SweepLayers(*state, console);
          }};
}

}  // namespace qwen3vl::cli
