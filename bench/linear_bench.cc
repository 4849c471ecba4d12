// SPDX-License-Identifier: Apache-2.0
// The products of the text layers for one token and for a prompt, in the formats that models come in.
#include "bench/register.h"
#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/layer.h"
#include "qwen3vl/bench/linear_case.h"

namespace qwen3vl::bench {
namespace {

void Add(const Preset& preset, const LinearProblem& problem) {
  const auto made = std::make_shared<Variant>();
  const double n = static_cast<double>(problem.n_tokens);
  const double outputs = static_cast<double>(problem.shape.outputs);
  const double inputs = static_cast<double>(problem.shape.inputs);
  Variant lazy;
  lazy.row.flop = 2 * n * outputs * inputs;
  lazy.row.bytes = outputs * static_cast<double>(hw::RowBytes(problem.format, problem.shape.inputs)) +
                   sizeof(float) * n * (outputs + inputs);
  lazy.units = problem.copies;
  lazy.check = [=] {
    *made = MakeLinearVariant(problem, {});
    return made->check();
  };
  lazy.run = [=] { made->run(); };
  const bool exact = !hw::IsQuantized(problem.format);
  Register("Linear/" + std::string(preset.name) + "/" + problem.shape.name +
               "/n:" + std::to_string(problem.n_tokens) + "/" + std::string(hw::Name(problem.format)),
           std::move(lazy), exact ? 2e-6 : 2e-2);
}

}  // namespace

void AddAll() {
  using hw::Format;
  for (const char* name : {"qwen3vl-2b.text", "qwen3vl-4b.text", "qwen3vl-8b.text"}) {
    const Preset& preset = *FindPresets(name).front();
    for (const LinearShape& shape : preset.linear)
      for (const size_t n : {size_t{1}, size_t{512}})
        for (const Format format : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0, Format::kQ4_0,
                                    Format::kQ4_K, Format::kQ6_K})
          Add(preset,
              {.shape = shape,
               .format = format,
               .n_tokens = n,
               .copies = n == 1 ? CopiesBeyondCache(shape.outputs * hw::RowBytes(format, shape.inputs)) : 1,
               .threads = ThreadsOrDefault(0)});
  }
}
}  // namespace qwen3vl::bench
