// SPDX-License-Identifier: Apache-2.0
// Prefill and decode attention of every preset, tiled and standard.
#include "bench/register.h"
#include "qwen3vl/bench/layer.h"

namespace qwen3vl::bench {
namespace {

void Add(const Preset& preset, const char* phase, const AttentionProblem& problem, double tolerance) {
  // The inputs are made when the benchmark runs, so that a filter does not pay for the others.
  for (const bool tiled : {true, false}) {
    Variant lazy;
    const auto made = std::make_shared<Variant>();
    lazy.row.flop = AttentionFlop(problem);
    lazy.row.bytes = AttentionBytes(problem);
    lazy.units = problem.layers;
    lazy.check = [=] {
      const AttentionForm form = tiled ? AttentionForm::kTiled : AttentionForm::kStandard;
      *made =
          MakeAttentionVariant(std::make_shared<AttentionData>(problem), {form, PlanFor(problem, {})}, {});
      return made->check();
    };
    lazy.run = [=] { made->run(); };
    Register(std::string(tiled ? "Tiled/" : "Standard/") + std::string(preset.name) + "/" + phase +
                 "/q:" + std::to_string(problem.q_len) + "/kv:" + std::to_string(problem.kv_len) + "/" +
                 std::string(hw::Name(problem.kv_format)),
             std::move(lazy), tolerance);
  }
}

}  // namespace

void AddAll() {
  const size_t threads = ThreadsOrDefault(0);
  for (const Preset& preset : Presets()) {
    const size_t length = preset.attention.length;
    Add(preset, "prefill", {.shape = preset.attention, .q_len = length, .kv_len = length, .threads = threads},
        2e-6);
    if (!preset.attention.causal) continue;
    AttentionProblem decode{.shape = preset.attention,
                            .kv_len = 4096,
                            .kv_format = hw::Format::kF16,
                            .cache = true,
                            .threads = threads};
    decode.layers = CopiesBeyondCache(static_cast<size_t>(AttentionBytes(decode)));
    Add(preset, "decode", decode, 1e-3);
  }
}
}  // namespace qwen3vl::bench
