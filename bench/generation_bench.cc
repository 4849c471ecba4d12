// SPDX-License-Identifier: Apache-2.0
// A whole model: a prompt, and tokens generated after it. generation_bench MODEL [benchmark options]
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>

#include "qwen3vl/bench/model_rows.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kPrompt = 512, kGenerate = 64;

void Run(benchmark::State& state, const Model& model, bool generate) {
  SessionOptions options;
  options.context = kPrompt + 8;
  const ModelConfig& config = model.impl()->files.config;
  // Verified once. Activations of 8 bits cost a few hundredths; what a wrong kernel gives has nothing in
  // common.
  constexpr double kTolerance = 0.1;
  const Accuracy accuracy = CheckLogits(
      model, options, [&](Session& s) { s.Complete(RandomIds(config, 16, 1), {}, {}, Greedy(0)); });
  if (!(accuracy.rel_norm <= kTolerance)) {
    state.SkipWithError("the logits differ from those of float32");
    return;
  }
  Session session(model, options);
  uint64_t seed = 2;
  for ([[maybe_unused]] auto _ : state) {
    const Reply reply = session.Complete(RandomIds(config, generate ? 1 : kPrompt, seed++), {}, {},
                                         Greedy(generate ? kGenerate + 1 : 1));
    state.SetIterationTime(generate ? reply.decode_s : reply.prefill_s);
  }
  const double tokens = static_cast<double>(generate ? kGenerate : kPrompt);
  state.counters["t/s"] =
      benchmark::Counter(tokens * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  state.counters["error"] = accuracy.rel_norm;
}

void AddAll(const Model& model) {
  for (const bool generate : {false, true})
    benchmark::RegisterBenchmark(generate ? "Generate/64" : "Prompt/512",
                                 [&model, generate](benchmark::State& state) { Run(state, model, generate); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace qwen3vl::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: generation_bench MODEL [benchmark options]\n", stderr);
    return 2;
  }
  try {
    const qwen3vl::Model model = qwen3vl::Model::Load(argv[1]);
    qwen3vl::bench::AddAll(model);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "generation_bench: %s\n", e.what());
    return 1;
  }
}
