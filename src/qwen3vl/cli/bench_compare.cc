// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench compare`: two results, row by row.
#include <memory>

#include "qwen3vl/bench/compare.h"
#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/input.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(A row is faster or slower when the samples of both files differ by more than chance (Mann and Whitney's test) and
their medians by more than --min-change; everything else is noise, or has too few samples for any verdict (at least 5 in
each file with the usual --alpha). Ends with 0 whatever it finds.

Example:
  qwen3vl bench layer --kind attention --json > before.json
  qwen3vl bench layer --kind attention --json > after.json
  qwen3vl bench compare before.json after.json)";

struct State {
  std::string before, after;
  bench::CompareOptions compare;
  bool json = false;
};

ExitCode CompareFiles(const State& state, Console& console) {
  const bench::ComparisonReport report = ReadingFiles([&] {
    return bench::Compare(bench::ParseRows(ReadText(state.before), state.before),
                          bench::ParseRows(ReadText(state.after), state.after), state.compare);
  });
  console.Out(state.json ? bench::ToJson(report) : bench::ToText(report));
  return kDone;
}

}  // namespace

Command AddBenchCompare(CLI::App& bench) {
  const auto state = std::make_shared<State>();
  CLI::App* app =
      bench.add_subcommand("compare", "Says which rows of two results are faster, slower or noise");
  RefuseEmpty(app->add_option("BEFORE", state->before, "result in JSON or JSON lines"))->required();
  RefuseEmpty(app->add_option("AFTER", state->after, "another of the same measurements"))->required();
  AddReal(*app, "--alpha", state->compare.alpha, "how rare a difference must be by chance; default 0.01", 0,
          1);
  AddReal(*app, "--min-change", state->compare.min_change, "smallest change of the median; default 0.02", 0,
          10);
  app->add_flag("--json", state->json, "one JSON document");
  app->footer(kFooter);
  return {app, [state](Console& console) { return CompareFiles(*state, console); }};
}

}  // namespace qwen3vl::cli
