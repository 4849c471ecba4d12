// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench`: its subcommands.
#include "qwen3vl/cli/bench.h"

namespace qwen3vl::cli {

std::vector<Command> AddBench(CLI::App& root) {
  CLI::App* app = root.add_subcommand(
      "bench", "Measures layers, whole models and pictures on this machine, and compares results");
  app->require_subcommand(1);
  return {AddBenchLayer(*app), AddBenchModel(*app), AddBenchImage(*app),
          AddBenchSweep(*app), AddBenchTune(*app),  AddBenchCompare(*app)};
}

}  // namespace qwen3vl::cli
