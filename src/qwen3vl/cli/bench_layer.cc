// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench layer`: the parts of a layer, each against what the machine can do and against a reference.
#include <memory>

#include "qwen3vl/bench/layer.h"
#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/bench_options.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kMaxRows = 65536;

constexpr const char* kFooter =
    R"(Every row is checked against a float64 reference before it is timed. Samples of all rows of a group and of the
machine's peaks (multiply-adds, and reading memory) are taken in turn; a share is the median over the samples of
what each did of the peak of its round. Decode steps and products of one row use copies in turn that no cache
holds. Rounds also tell how long a cache line takes from one thread to another: where that changes, a virtual
machine's cores were moved, and the speed of memory with them.
Presets: qwen3vl-2b, -4b, -8b, -32b, -30b-a3b (each with .text and .vision), gpt2, esm2-650m, unet3d, manipulation.

Examples:
  qwen3vl bench layer --preset qwen3vl-4b.text --kind attention --isa avx2
  qwen3vl bench layer --preset qwen3vl-8b --kind attention.prefill --lengths 512,2048 --threads 1 --format jsonl
  qwen3vl bench layer --preset qwen3vl-2b.text --kind linear --tokens 1,512 --dtype q4_K,q8_0)";

struct State {
  BenchOptions bench;
  bench::LayerOptions layer;
  std::vector<std::string> formats, paths;
};

void TakeFormats(State& state) {
  for (const std::string& name : state.formats) {
    const auto format = hw::FormatFromName(name);
    if (!format)
      throw CLI::ValidationError("--dtype",
                                 "'" + name + "', want f32, f16, bf16, q8_0, or another weight format");
    state.layer.formats.push_back(*format);
  }
  for (const std::string& name : state.paths) {
    const auto form = bench::AttentionFormFromName(name);
    if (!form) throw CLI::ValidationError("--path", "'" + name + "', want tiled, int16, standard or weights");
    state.layer.paths.push_back(*form);
  }
}

ExitCode Layer(State& state, Console& console) {
  TakeFormats(state);
  state.layer.threads = state.bench.threads;
  return RunBench(state.bench, console,
                  [&](const std::string& isa, const bench::MeasureOptions& how, bench::PeakMeter* peaks,
                      const Sink& sink) {
                    state.layer.command_tail = state.bench.CommandTail(isa);
                    TakingOptions([&] { bench::RunLayers(state.layer, how, peaks, sink); });
                  });
}

}  // namespace

Command AddBenchLayer(CLI::App& bench) {
  constexpr size_t kMaxLength = size_t{1} << 20;
  const auto state = std::make_shared<State>();
  CLI::App* app =
      bench.add_subcommand("layer", "Measures the parts of a layer: attention, products, rope, norm");
  bench::LayerOptions& o = state->layer;
  AddWords(*app, "--preset", o.presets, "shapes to measure; default qwen3vl-4b", "NAME,NAME");
  AddWords(*app, "--kind", o.kinds,
           "attention.prefill, attention.decode, linear.NAME, rope, norm, or a part of "
           "these; default: all",
           "NAME,NAME");
  AddCounts(*app, "--lengths", o.lengths, "prompt lengths; default: the preset's", 1, kMaxLength);
  AddCounts(*app, "--contexts", o.contexts, "keys of a decode step; default 4096", 1, kMaxLength);
  AddCounts(*app, "--tokens", o.tokens, "rows of products, rope and norm; default: 1 and the preset's length",
            1, kMaxLength);
  AddWords(*app, "--dtype", state->formats,
           "formats of keys and values, and of weights; default: the usual ones", "TYPE,TYPE");
  AddWords(*app, "--path", state->paths,
           "tiled, int16 (tiled, many rows multiplied in 16 bits; with it products of f32, f16 and bf16 "
           "weights are "
           "measured so too), standard, or weights (standard attention that hands out its weights); default: "
           "tiled,standard, and int16 unless keys, values or weights are in f32",
           "PATH,PATH");
  AddTile(*app, o.tile, o.use_tuning);
  AddCount(*app, "--q-rows", o.q_rows, "query rows a task; default: by hardware", 1, kMaxRows);
  AddCount(*app, "--check-rows", o.check_rows, "query rows compared with the reference; default 16", 1,
           kMaxLength);
  AddMaxStandard(*app, o);
  app->add_flag("--exact", o.exact, "products in float32 throughout");
  AddRepack(*app, o.repack,
            "products of Q4_0, Q4_K, Q5_K and Q6_K: on: of rows interleaved as loading a model does it, "
            "off: of rows as in a file; default auto: both");
  AddBenchOptions(*app, state->bench);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Layer(*state, console); }};
}

}  // namespace qwen3vl::cli
