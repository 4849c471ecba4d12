// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench`: its subcommands.
#include "qwen3vl/cli/bench.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter = R"(qwen3vl bench SUBCOMMAND --help explains each.

Examples:
  qwen3vl bench layer --preset qwen3vl-4b.text --kind attention
  qwen3vl bench model -m model.gguf --depths 0,4096
  qwen3vl bench tune -m model.gguf
  qwen3vl bench compare before.json after.json)";

}  // namespace

std::vector<Command> AddBench(CLI::App& root) {
  CLI::App* app = root.add_subcommand(
      "bench", "Measures layers, whole models and pictures on this machine, and compares results");
  app->require_subcommand(1);
  app->footer(kFooter);
  return {AddBenchLayer(*app), AddBenchModel(*app), AddBenchImage(*app),
          AddBenchSweep(*app), AddBenchTune(*app),  AddBenchCompare(*app)};
}

}  // namespace qwen3vl::cli
