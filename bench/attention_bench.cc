// SPDX-License-Identifier: Apache-2.0
// Prefill and decode attention of every preset, tiled and standard. Tiled as sessions do it unless told
// otherwise: products of many rows in 16 bits.
#include "bench/register.h"
#include "qwen3vl/bench/layer.h"

namespace qwen3vl::bench {
namespace {

void Add(const Preset& preset, const char* phase, const AttentionProblem& problem) {
  // The inputs are made when the benchmark runs, so that a filter does not pay for the others.
  for (const bool tiled : {true, false}) {
    const bool rounds = tiled || problem.kv_format != hw::Format::kF32;
    Variant lazy;
    const auto made = std::make_shared<Variant>();
    lazy.row.flop = AttentionFlop(problem);
    lazy.row.bytes = AttentionBytes(problem);
    lazy.units = problem.layers;
    lazy.check = [=] {
      const AttentionForm form = tiled ? AttentionForm::kInt16 : AttentionForm::kStandard;
      *made =
          MakeAttentionVariant(std::make_shared<AttentionData>(problem), {form, PlanFor(problem, {})}, {});
      return made->check();
    };
    lazy.run = [=] { made->run(); };
    Register(std::string(tiled ? "Tiled/" : "Standard/") + std::string(preset.name) + "/" + phase +
                 "/q:" + std::to_string(problem.q_len) + "/kv:" + std::to_string(problem.kv_len) + "/" +
                 std::string(hw::Name(problem.kv_format)),
             std::move(lazy), rounds ? 1e-3 : 2e-6);
  }
}

}  // namespace

void AddAll() {
  const size_t threads = ThreadsOrDefault(0);
  for (const Preset& preset : Presets()) {
    const size_t length = preset.attention.length;
    AttentionProblem prefill{
        .shape = preset.attention, .q_len = length, .kv_len = length, .threads = threads};
    prefill.cache = preset.attention.causal && preset.attention.batch == 1;
    if (prefill.cache) prefill.kv_format = hw::Format::kF16;
    Add(preset, "prefill", prefill);
    if (!preset.attention.causal) continue;
    AttentionProblem decode{.shape = preset.attention,
                            .kv_len = 4096,
                            .kv_format = hw::Format::kF16,
                            .cache = true,
                            .threads = threads};
    decode.layers = CopiesBeyondCache(static_cast<size_t>(AttentionBytes(decode)));
    Add(preset, "decode", decode);
  }
}
}  // namespace qwen3vl::bench
