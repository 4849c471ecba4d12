// SPDX-License-Identifier: Apache-2.0
// The products of the vision towers, in the formats that their files have.
#include "bench/register.h"
#include "qwen3vl/bench/layer.h"
#include "qwen3vl/bench/linear_case.h"

namespace qwen3vl::bench {
namespace {

void Add(const Preset& preset, const LinearShape& shape, hw::Format format) {
  const auto made = std::make_shared<Variant>();
  const LinearProblem problem{
      .shape = shape, .format = format, .n_tokens = preset.attention.length, .threads = ThreadsOrDefault(0)};
  Variant lazy;
  lazy.row.flop = 2.0 * static_cast<double>(problem.n_tokens * shape.outputs * shape.inputs);
  lazy.row.bytes = static_cast<double>(shape.outputs * hw::RowBytes(format, shape.inputs) +
                                       sizeof(float) * problem.n_tokens * (shape.outputs + shape.inputs));
  lazy.check = [=] {
    *made = MakeLinearVariant(problem, {});
    return made->check();
  };
  lazy.run = [=] { made->run(); };
  Register("Linear/" + std::string(preset.name) + "/" + shape.name +
               "/n:" + std::to_string(problem.n_tokens) + "/" + std::string(hw::Name(format)),
           std::move(lazy), 2e-6);
}

}  // namespace

void AddAll() {
  for (const char* name : {"qwen3vl-2b.vision", "qwen3vl-8b.vision"}) {
    const Preset& preset = *FindPresets(name).front();
    for (const LinearShape& shape : preset.linear)
      for (const hw::Format format : {hw::Format::kF32, hw::Format::kF16, hw::Format::kBF16})
        Add(preset, shape, format);
  }
}
}  // namespace qwen3vl::bench
