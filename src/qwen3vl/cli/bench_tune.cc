// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench tune`: measures how attention runs fastest here, and stores it for later runs.
#include <algorithm>
#include <cmath>
#include <memory>

#include "qwen3vl/bench/tune.h"
#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/bench_options.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Measures attention of a model's text and vision layers: each tile and number of query rows a task, on each number
of threads and instruction set (without --isa: AVX2 and better), and up to which length standard attention is
faster. What it finds is stored in $XDG_CACHE_HOME/qwen3vl/tuning.json (else ~/.cache/qwen3vl/) for this processor,
instruction set, number of threads and version; runs with --tile auto use it from then on, and `qwen3vl probe`
shows it. Another number of threads than usual becomes the default of models with such heads when it was compared
with the usual one and is 5 % faster. Without the file, or with --tile prescribed, the prescribed tile counts. Let
the machine do nothing else meanwhile.

Examples:
  qwen3vl bench tune -m model.gguf
  qwen3vl bench tune --preset qwen3vl-8b --isa avx2 --thread-counts 2,4 --cooldown 1)";

struct State {
  BenchOptions bench;
  bench::TuneOptions tune;
  std::vector<std::string> presets = {"qwen3vl-4b"};
  std::string model, mmproj;
  bool dry_run = false;
};

std::vector<bench::TuneShape> Shapes(const State& state) {
  if (!state.model.empty())
    return ReadingFiles([&] { return bench::ShapesOfModel(state.model, state.mmproj); });
  std::vector<bench::TuneShape> shapes;
  for (const std::string& name : state.presets)
    for (const bench::TuneShape& shape : TakingOptions([&] { return bench::ShapesOfPreset(name); }))
      shapes.push_back(shape);
  return shapes;
}

// What a processor of these days would run: kernels without AVX2 are for those that have nothing else.
std::vector<std::string> UsualIsas() {
  std::vector<std::string> isas = TakingOptions(ProbeMachine).isas;
  const auto first = std::ranges::find(isas, "avx2");
  if (first != isas.end()) isas.erase(isas.begin(), first);
  return isas.size() > 1 ? isas : std::vector<std::string>{};
}

void RefuseContradictions(const CLI::App& app, const State& state) {
  const auto refuse = [](const char* option, const std::string& why) {
    throw CLI::ValidationError(option, why);
  };
  if (!state.model.empty() && app.count("--preset")) refuse("--preset", "excludes -m, want one of them");
  if (state.model.empty() && app.count("--mmproj"))
    refuse("--mmproj", "belongs to a model, want -m MODEL with it");
  if (app.count("--threads") && app.count("--thread-counts"))
    refuse("--threads", "excludes --thread-counts, want one of them");
  if (state.tune.prompt > state.tune.keys)
    refuse("--prompt", std::to_string(state.tune.prompt) + " query rows, want at most the " +
                           std::to_string(state.tune.keys) + " of --keys");
}

ExitCode Tune(State& state, Console& console) {
  const std::string path = TuningPath();
  if (path.empty() && !state.dry_run)
    throw Failure(kRuntimeError, "no folder to store the result in: set XDG_CACHE_HOME or HOME");
  state.tune.shapes = Shapes(state);
  if (state.bench.threads) state.tune.threads = {state.bench.threads};
  if (state.bench.isas.empty()) state.bench.isas = UsualIsas();
  std::vector<TuningEntry> entries;
  std::string fastest;
  double least = INFINITY;
  std::vector<std::string> findings;
  // A folder that cannot be written must show before an hour of measuring.
  if (!state.dry_run) StoreTuning(path, {});
  const ExitCode code = RunBench(
      state.bench, console,
      [&](const std::string& isa, const bench::MeasureOptions& how, bench::PeakMeter*, const Sink& sink) {
        state.tune.command_tail = state.bench.CommandTail(isa);
        bench::TuneResult result = TakingOptions([&] { return bench::RunTune(state.tune, how, sink); });
        entries.insert(entries.end(), result.entries.begin(), result.entries.end());
        if (result.seconds < least) {
          least = result.seconds;
          fastest = isa;
        }
        findings.insert(findings.end(), result.findings.begin(), result.findings.end());
      });
  for (const std::string& line : findings) console.Note(line);
  if (state.bench.isas.size() > 1)
    console.Note("fastest instruction set: " + fastest + "; --isa or QWEN3VL_ISA choose it");
  if (state.dry_run) return code;
  StoreTuning(path, entries);
  console.Note("stored in " + path);
  return code;
}

}  // namespace

Command AddBenchTune(CLI::App& bench) {
  constexpr size_t kMaxTile = 65536, kMaxLength = size_t{1} << 20, kMaxThreads = 1024;
  const auto state = std::make_shared<State>();
  CLI::App* app =
      bench.add_subcommand("tune", "Measures how attention runs fastest on this machine, and stores it");
  AddPath(*app, "-m,--model", state->model, "tune for this model instead of a preset", "MODEL");
  AddPath(*app, "--mmproj", state->mmproj, "its vision GGUF; default: found next to the text GGUF", "FILE");
  AddWords(*app, "--preset", state->presets, "tune for these shapes; default qwen3vl-4b", "NAME,NAME");
  AddCounts(*app, "--tiles", state->tune.tiles, "key/value rows a step; default 64,128,256,512", 1, kMaxTile);
  AddCounts(*app, "--q-rows", state->tune.q_rows, "query rows a task; default 48,96,192,384,768", 1,
            kMaxTile);
  AddCounts(*app, "--thread-counts", state->tune.threads,
            "default: the physical fast cores, and all logical ones", 1, kMaxThreads);
  AddCount(*app, "--prompt", state->tune.prompt, "query rows to measure on; default 512", 1, kMaxLength);
  AddCount(*app, "--keys", state->tune.keys, "keys that the last of them sees; default 2048", 1, kMaxLength);
  AddCounts(*app, "--short-lengths", state->tune.short_lengths,
            "on which standard attention is tried; default 4 to 64", 1, kMaxLength);
  app->add_flag("--dry-run", state->dry_run, "measure, but store nothing");
  state->bench.measure.samples = 7;
  state->bench.no_peaks = true;
  AddBenchOptions(*app, state->bench);
  app->footer(kFooter);
  return {app, [state, app](Console& console) {
            RefuseContradictions(*app, *state);
            return Tune(*state, console);
          }};
}

}  // namespace qwen3vl::cli
