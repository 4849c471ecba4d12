// SPDX-License-Identifier: Apache-2.0
// Rotary embedding and norms of every preset.
#include "bench/register.h"
#include "qwen3vl/bench/layer.h"
#include "qwen3vl/bench/linear_case.h"

namespace qwen3vl::bench {

void AddAll() {
  const size_t threads = ThreadsOrDefault(0);
  for (const Preset& preset : Presets()) {
    const size_t n = preset.attention.length;
    const std::string rest = "/" + std::string(preset.name) + "/n:" + std::to_string(n);
    if (preset.rope != RopeKind::kNone)
      Register("Rope" + rest, MakeRopeVariant(preset, n, threads, {}), 1e-6);
    Register("Norm" + rest, MakeNormVariant(preset, n, threads, {}), 1e-6);
  }
}
}  // namespace qwen3vl::bench
