// SPDX-License-Identifier: Apache-2.0
// The products of the vision towers, in the formats that their files have.
#include "bench/register_linear.h"
#include "qwen3vl/bench/layer.h"

namespace qwen3vl::bench {

void AddAll() {
  for (const char* name : {"qwen3vl-2b.vision", "qwen3vl-8b.vision"}) {
    const Preset& preset = *FindPresets(name).front();
    for (const LinearShape& shape : preset.linear)
      for (const hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16})
        RegisterLinear(preset, {.shape = shape,
                                .format = format,
                                .n_tokens = preset.attention.length,
                                .threads = ThreadsOrDefault(0)});
  }
}
}  // namespace qwen3vl::bench
