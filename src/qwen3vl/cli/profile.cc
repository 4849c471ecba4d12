// SPDX-License-Identifier: Apache-2.0
// `qwen3vl profile`: where the time of one answer goes, and which attention shapes it is made of.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/prompt_input.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(Prints four tables: stages (load, preprocess, encode, prefill, decode), parts of a stage, blocks, and the
attention calls by shape with the number of layers that make them. Shares are of the whole time.

Examples:
  qwen3vl profile -m model.gguf --image cat.jpg -p "What is this?" -n 32
  qwen3vl profile -m model.gguf -p "Hello" --json | jq .stages)";

struct ProfileState {
  CommonOptions common;
  PromptOptions prompt;
  GenerateOptions generate{.max_tokens = 16, .sampling = {}, .stop = {}, .tools_json = {}, .on_text = {}};
};

struct Sum {
  std::vector<std::string> key;
  size_t calls = 0;
  double seconds = 0;
  std::set<std::string> blocks;
};

// Rows summed under equal keys, in the order of their first appearance.
std::vector<Sum> SumBy(const std::vector<ProfileRow>& rows, auto&& key_of) {
  std::vector<Sum> sums;
  std::map<std::vector<std::string>, size_t> index;
  for (const ProfileRow& row : rows) {
    const std::vector<std::string> key = key_of(row);
    if (key.empty()) continue;
    const auto [at, is_new] = index.try_emplace(key, sums.size());
    if (is_new) sums.push_back({key, 0, 0, {}});
    Sum& sum = sums[at->second];
    sum.calls += row.calls;
    sum.seconds += row.seconds;
    if (!row.block.empty()) sum.blocks.insert(row.block);
  }
  return sums;
}

struct Report {
  double total_s = 0;
  std::vector<Sum> stages, parts, blocks, shapes;
};

Report MakeReport(const Engine& engine, const Reply& r) {
  Report report;
  const std::vector<ProfileRow> rows = engine.session.profile();
  for (const auto& [stage, seconds] : {std::pair{"load", engine.load_s},
                                       {"preprocess", r.preprocess_s},
                                       {"encode", r.encode_s},
                                       {"prefill", r.prefill_s},
                                       {"decode", r.decode_s}}) {
    report.stages.push_back({{stage}, 1, seconds, {}});
    report.total_s += seconds;
  }
  using Key = std::vector<std::string>;
  report.parts = SumBy(rows, [](const ProfileRow& row) { return Key{row.stage, row.part}; });
  report.blocks = SumBy(rows, [](const ProfileRow& row) {
    return row.block.empty() ? Key{} : Key{row.stage, row.block};
  });
  report.shapes = SumBy(rows, [](const ProfileRow& row) {
    return row.shape.empty() ? Key{} : Key{row.stage, row.shape};
  });
  std::stable_sort(report.parts.begin(), report.parts.end(),
                   [](const Sum& a, const Sum& b) { return a.seconds > b.seconds; });
  return report;
}

std::string TableText(const std::vector<std::string>& header, const std::vector<Sum>& sums, double total_s,
                      bool with_layers) {
  const size_t n_keys = header.size();
  std::vector<std::string> columns = header;
  if (with_layers) columns.push_back("layers");
  columns.insert(columns.end(), {"calls", "seconds", "share"});
  Table table(columns, n_keys);
  for (const Sum& s : sums) {
    std::vector<std::string> row = s.key;
    if (with_layers) row.push_back(std::to_string(s.blocks.size()));
    row.push_back(std::to_string(s.calls));
    row.push_back(FormatNumber(s.seconds, 4));
    row.push_back(FormatNumber(total_s > 0 ? 100 * s.seconds / total_s : 0, 1) + " %");
    table.Add(row);
  }
  return table.Text();
}

Json SumsJson(const std::vector<std::string>& names, const std::vector<Sum>& sums, double total_s,
              bool with_layers) {
  Json list = Json::array();
  for (const Sum& s : sums) {
    Json row = Json::object();
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = s.key[i];
    if (with_layers) row["layers"] = s.blocks.size();
    row["calls"] = s.calls;
    row["seconds"] = s.seconds;
    row["share"] = total_s > 0 ? s.seconds / total_s : 0;
    list.push_back(row);
  }
  return list;
}

void Print(const Report& r, const Reply& reply, const Engine& engine, bool json, Console& console) {
  const std::vector<std::string> stage{"stage"}, part{"stage", "part"}, block{"stage", "block"},
      shape{"stage", "shape"};
  if (json) {
    console.OutJson({{"total_seconds", r.total_s},
                     {"prompt_tokens", reply.prompt_tokens},
                     {"image_tokens", reply.image_tokens},
                     {"tokens", reply.ids.size()},
                     {"threads", engine.session.threads()},
                     {"isa", ProbeMachine().isa},
                     {"attention_paths", engine.session.attention_paths()},
                     {"stages", SumsJson(stage, r.stages, r.total_s, false)},
                     {"parts", SumsJson(part, r.parts, r.total_s, false)},
                     {"blocks", SumsJson(block, r.blocks, r.total_s, false)},
                     {"attention", SumsJson(shape, r.shapes, r.total_s, true)}});
    return;
  }
  console.Out(TableText(stage, r.stages, r.total_s, false) + "\n" +
              TableText(part, r.parts, r.total_s, false) + "\n" +
              TableText(block, r.blocks, r.total_s, false) + "\nattention (" +
              engine.session.attention_paths() + ")\n" + TableText(shape, r.shapes, r.total_s, true));
}

ExitCode Profile(ProfileState& state, Console& console) {
  console.verbose = state.common.verbose;
  const PromptInput prompt(state.prompt, state.common, "Describe what you see, or say hello.");
  state.common.session.profile = true;
  Engine engine = StartEngine(state.common, prompt.media(), console);
  const CancelOnInterrupt guard(engine.session);
  state.generate.sampling = SamplingOptions{};
  state.generate.ignore_end = true;
  state.generate.draft_tokens = 0;  // a row is the time of single tokens
  const Reply reply = prompt.Run(engine, state.generate);
  if (reply.finish == FinishReason::kCancelled) return kInterrupted;
  Print(MakeReport(engine, reply), reply, engine, state.common.json, console);
  console.Note(Statistics(reply));
  return kDone;
}

}  // namespace

Command AddProfile(CLI::App& root) {
  const auto state = std::make_shared<ProfileState>();
  CLI::App* app = root.add_subcommand(
      "profile", "Shows the share of time per stage, part and block, and the attention shapes");
  AddModelOptions(*app, state->common);
  AddPromptOptions(*app, state->prompt);
  AddCount(*app, "-n,--max-tokens", state->generate.max_tokens,
           "tokens generated, whether or not the answer would end; default 16", 0);
  AddSessionOptions(*app, state->common);
  app->footer(kFooter);
  return {app, [state](Console& console) { return Profile(*state, console); }};
}

}  // namespace qwen3vl::cli
