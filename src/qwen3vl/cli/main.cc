// SPDX-License-Identifier: Apache-2.0
// The command `qwen3vl`: chooses the subcommand and turns every error into one line and an exit code.
#include <fcntl.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/console.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/help_format.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/environment.h"
#include "qwen3vl/error.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  qwen3vl run -m Qwen3VL-4B-Instruct-Q4_K_M.gguf --image cat.jpg -p "What is this?"
  qwen3vl chat -m Qwen3-VL-2B-Instruct/
  qwen3vl inspect Qwen3VL-4B-Instruct-Q4_K_M.gguf --ctx 32768

Environment: QWEN3VL_ISA=NAME stands for --isa where that is not given; QWEN3VL_FAULT=alloc,device,launch,nan
has the named things fail, to try what the engine does then.
Exit codes: 0 done, 1 runtime error, 2 bad usage, 3 bad or missing file, 130 interrupted (Ctrl-C), 143 and 129
likewise by SIGTERM and SIGHUP.
Results go to stdout, everything else to stderr.)";

const CLI::App& Deepest(const CLI::App& app) {
  const std::vector<const CLI::App*> chosen =
      app.get_subcommands([](const CLI::App* sub) { return sub->parsed(); });
  return chosen.empty() ? app : Deepest(*chosen.front());
}

std::string FullName(const CLI::App& app) {
  return app.get_parent() ? FullName(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

// The parser looks for what is missing before it looks for what it does not know; people want the second
// first.
std::string Explain(const CLI::ParseError& e, const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (!unknown.empty()) return unknown.front() + ": not known here";
  const std::string what = e.what();  // "-m: At Most 1 required but received 2"
  const size_t twice = what.find(": At Most 1 required");
  return twice == std::string::npos ? what : what.substr(0, twice) + ": given more than once, want it once";
}

ExitCode Fail(Console& console, ExitCode code, const std::string& message) {
  console.Note("qwen3vl: " + message);
  return code;
}

// Of the options that help, those that this subcommand has.
std::string OutOfMemory(const CLI::App& app) {
  std::string advice;
  for (const auto& [option, text] : {std::pair{"--ctx", "--ctx"},
                                     {"--kv-type", "--kv-type q8_0"},
                                     {"--max-image-tokens", "--max-image-tokens"}})
    if (app.get_option_no_throw(option)) advice += (advice.empty() ? "; try " : ", ") + std::string(text);
  return "out of memory" + advice;
}

ExitCode Run(const Command& command, Console& console) {
  try {
    return command.run(console);
  } catch (const Failure& e) {
    return Fail(console, e.code(), e.what());
  } catch (const CLI::ParseError& e) {
    return Fail(console, kBadUsage, std::string(e.what()) + "; see " + FullName(*command.app) + " --help");
  } catch (const Error& e) {
    return Fail(console, ExitCodeOf(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return Fail(console, kRuntimeError, OutOfMemory(*command.app));
  } catch (const std::exception& e) {
    return Fail(console, kRuntimeError, e.what());
  }
}

// By which signal it was interrupted.
int AsSeenByShells(ExitCode code) { return code == kInterrupted ? InterruptExitCode() : code; }

// Help and version: results, so that a full disk is noticed.
ExitCode ShowHelp(CLI::App& app, const CLI::ParseError& asked, Console& console) {
  return Run({&app,
              [&](Console& to) {
                std::ostringstream text;
                app.exit(asked, text, text);
                to.Out(text.str());
                return kDone;
              }},
             console);
}

// A closed one would be given to the next file that is opened, and messages would go into that. Opened the
// wrong way round, so that reading and writing still fail.
void OccupyStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);  // the lowest free one: fd
}

int Main(int argc, char** argv) {
  OccupyStandardDescriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is a failed write, which is reported
  CLI::App app("Runs Qwen3-VL, a model that reads pictures and text, on this computer.", "qwen3vl");
  app.set_version_flag("--version", "qwen3vl " QWEN3VL_VERSION);
  app.footer(kFooter);
  app.require_subcommand(1);
  app.formatter(std::make_shared<HelpFormatter>());
  std::vector<Command> commands{AddRun(app),      AddChat(app),   AddProbe(app),   AddInspect(app),
                                AddTokenize(app), AddVerify(app), AddProfile(app), AddTrace(app)};
  commands.push_back(AddTraceAttention(*commands.back().app));
  for (Command& command : AddBench(app)) commands.push_back(std::move(command));

  Console console;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const CLI::App& at = Deepest(app);
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return ShowHelp(app, e, console);
    return Fail(console, kBadUsage, Explain(e, app) + "; see " + FullName(at) + " --help");
  }
  CatchInterrupts();
  const CLI::App* chosen = &Deepest(app);
  for (const Command& command : commands)
    if (command.app == chosen)
      return AsSeenByShells(Run({command.app,
                                 [&](Console& to) {
                                   // Also where the subcommand never looks at it: a misspelt name must not go
                                   // unnoticed.
                                   TakingOptions(CheckEnvironment);
                                   return command.run(to);
                                 }},
                                console));
  return kBadUsage;
}

}  // namespace
}  // namespace qwen3vl::cli

int main(int argc, char** argv) { return qwen3vl::cli::Main(argc, argv); }
