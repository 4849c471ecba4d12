// SPDX-License-Identifier: Apache-2.0
// The products of the text layers for one token and for a prompt, in the formats that models come in.
#include "bench/register_linear.h"
#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/layer.h"

namespace qwen3vl::bench {

void AddAll() {
  using hw::Format;
  for (const char* name : {"qwen3vl-2b.text", "qwen3vl-4b.text", "qwen3vl-8b.text"}) {
    const Preset& preset = *FindPresets(name).front();
    for (const LinearShape& shape : preset.linear)
      for (const size_t n : {size_t{1}, size_t{512}})
        for (const Format format : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0, Format::kQ4_0,
                                    Format::kQ4_K, Format::kQ6_K})
          RegisterLinear(
              preset,
              {.shape = shape,
               .format = format,
               .n_tokens = n,
               .copies = n == 1 ? CopiesBeyondCache(shape.outputs * hw::RowBytes(format, shape.inputs)) : 1,
               .threads = ThreadsOrDefault(0)});
  }
}
}  // namespace qwen3vl::bench
