// SPDX-License-Identifier: Apache-2.0
// Products with weights, which the text layers and the vision towers share.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "bench/register.h"
#include "qwen3vl/bench/linear_case.h"

namespace qwen3vl::bench {

// Of products as Precision::kAuto computes them.
inline double ToleranceOf(const LinearProblem& problem) {
  if (hw::IsQuantized(problem.format)) return 2e-2;  // activations of 8 bits
  const bool in_16_bits = problem.format != hw::Format::kF32 && problem.n_tokens > 1;
  return in_16_bits ? 1e-3 : 2e-6;
}

// Registers the product in the precision that sessions use unless told otherwise, whatever `problem` says.
inline void RegisterLinear(const Preset& preset, LinearProblem problem) {
  problem.precision = Precision::kAuto;
  // The weights are made when the benchmark runs, so that a filter does not pay for the others.
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
  Register("Linear/" + std::string(preset.name) + "/" + problem.shape.name +
               "/n:" + std::to_string(problem.n_tokens) + "/" + std::string(hw::Name(problem.format)),
           std::move(lazy), ToleranceOf(problem));
}

}  // namespace qwen3vl::bench
