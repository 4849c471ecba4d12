// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each adds its options to the parser and gives back what is to be done with them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "qwen3vl/cli/console.h"
#include "qwen3vl/cli/failure.h"

namespace qwen3vl::cli {

struct Command {
  CLI::App* app = nullptr;
  std::function<ExitCode(Console&)> run;
};

Command AddRun(CLI::App& root);
Command AddChat(CLI::App& root);
Command AddProbe(CLI::App& root);
Command AddInspect(CLI::App& root);
Command AddTokenize(CLI::App& root);
Command AddVerify(CLI::App& root);
Command AddProfile(CLI::App& root);
Command AddTrace(CLI::App& root);
// The subcommand of trace.
Command AddTraceAttention(CLI::App& trace);

}  // namespace qwen3vl::cli
