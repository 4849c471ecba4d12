// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/bench_model_options.h"

#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {

void AddWholeModelOptions(CLI::App& app, CommonOptions& common, BenchOptions& bench, bool model_required) {
  constexpr size_t kMaxTokens = size_t{1} << 20;
  AddPath(app, "-m,--model", common.model, "Hugging Face folder or GGUF file", "MODEL")
      ->required(model_required);
  AddPath(app, "--mmproj", common.mmproj, "vision GGUF; default: found next to the text GGUF", "FILE");
  SessionOptions& s = common.session;
  AddPathOptions(app, s);
  AddGpuOptions(app, s);
  AddRepack(app, common.repack);
  AddCount(app, "--chunk", s.prefill_chunk, "prompt tokens processed at a time; default 512", 1, kMaxTokens);
  app.add_flag("--exact", s.exact, "keep activations in floats with quantised weights");
  bench.measure.samples = 5;
  bench.measure.max_variant_s = 60;
  AddBenchOptions(app, bench);
}

SessionOptions SessionFor(const CommonOptions& common, const BenchOptions& bench, Console& console) {
  SessionOptions session = common.session;
  session.threads = bench.threads;
  session.log = console.Log();
  session.progress = [](const Progress&) { return !Interrupted(); };
  return session;
}

std::string CommandTail(const CommonOptions& common, const BenchOptions& bench, const std::string& isa) {
  const SessionOptions& s = common.session;
  std::string tail = " --kv-type " + std::string(Name(s.kv_type)) + " --attention " +
                     std::string(Name(s.attention)) + " --chunk " + std::to_string(s.prefill_chunk);
  if (s.gpu_layers)
    tail += " --gpu-layers " + (s.gpu_layers == kAutoGpuLayers ? "auto" : std::to_string(s.gpu_layers));
  if (s.gpu_vision != GpuVision::kAuto) tail += " --gpu-vision " + std::string(Name(s.gpu_vision));
  if (s.tile) tail += " --tile " + std::to_string(s.tile);
  if (!s.use_tuning) tail += " --tile prescribed";
  if (s.cpu_products != CpuProducts::kAuto) tail += " --cpu-products " + std::string(Name(s.cpu_products));
  if (s.gpu_scores != GpuScores::kF32) tail += " --gpu-scores " + std::string(Name(s.gpu_scores));
  if (s.exact) tail += " --exact";
  return tail + bench.CommandTail(isa);
}

}  // namespace qwen3vl::cli
