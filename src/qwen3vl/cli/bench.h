// SPDX-License-Identifier: Apache-2.0
// The subcommands of bench.
#pragma once

#include <vector>

#include "qwen3vl/cli/command.h"

namespace qwen3vl::cli {

std::vector<Command> AddBench(CLI::App& root);  // adds bench itself, and gives back its subcommands
Command AddBenchLayer(CLI::App& bench);
Command AddBenchModel(CLI::App& bench);
Command AddBenchImage(CLI::App& bench);
Command AddBenchSweep(CLI::App& bench);
Command AddBenchTune(CLI::App& bench);
Command AddBenchCompare(CLI::App& bench);

}  // namespace qwen3vl::cli
