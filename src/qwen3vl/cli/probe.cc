// SPDX-License-Identifier: Apache-2.0
// `qwen3vl probe`: what the engine found out about this machine and what it makes of it.
#include <string>
#include <utility>
#include <vector>

#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  qwen3vl probe
  qwen3vl probe --json | jq .isa)";

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : ", ") + w;
  return out;
}

std::string DescribeCores(const MachineReport& r) {
  std::string text = std::to_string(r.physical_cores) + " physical";
  if (r.efficiency_cores)
    text += " (" + std::to_string(r.performance_cores) + " fast, " + std::to_string(r.efficiency_cores) +
            " efficient)";
  return text + ", " + std::to_string(r.logical_cores) + " logical" +
         (r.container_limited ? ", limited by a container" : "");
}

Json ToJson(const MachineReport& r) {
  Json gpus = Json::array();
  for (const MachineReport::Gpu& g : r.gpus)
    gpus.push_back(
        {{"name", g.name},
         {"compute_capability", std::to_string(g.compute_major) + "." + std::to_string(g.compute_minor)},
         {"multiprocessors", g.multiprocessors},
         {"shared_bytes_per_block", g.shared_bytes_per_block},
         {"memory_total_bytes", g.memory_total_bytes},
         {"tile", g.tile},
         {"tile_reason", g.tile_reason}});
  return {{"version", QWEN3VL_VERSION},
          {"cpu", r.cpu},
          {"logical_cores", r.logical_cores},
          {"physical_cores", r.physical_cores},
          {"performance_cores", r.performance_cores},
          {"efficiency_cores", r.efficiency_cores},
          {"default_threads", r.default_threads},
          {"l1d_bytes", r.l1d_bytes},
          {"l2_bytes", r.l2_bytes},
          {"l3_bytes", r.l3_bytes},
          {"memory_total_bytes", r.memory_total_bytes},
          {"memory_available_bytes", r.memory_available_bytes},
          {"container_limited", r.container_limited},
          {"isas", r.isas},
          {"isa", r.isa},
          {"gpu_status", r.gpu_status},
          {"gpu_code", r.gpu_code},
          {"gpus", gpus},
          {"tile", r.tile},
          {"q_rows", r.q_rows},
          {"tile_reason", r.tile_reason},
          {"tuning", r.tuning_status}};
}

std::string ToText(const MachineReport& r) {
  std::vector<std::pair<std::string, std::string>> rows = {
      {"cpu", r.cpu},
      {"cores", DescribeCores(r)},
      {"threads used", std::to_string(r.default_threads)},
      {"caches", "L1d " + FormatBytes(r.l1d_bytes) + " and L2 " + FormatBytes(r.l2_bytes) + " a core, L3 " +
                     FormatBytes(r.l3_bytes)},
      {"memory", FormatBytes(r.memory_total_bytes) + ", " + FormatBytes(r.memory_available_bytes) + " free"},
      {"instructions", r.isa + " (available: " + Join(r.isas) + ")"},
      {"tile", std::to_string(r.tile) + " key/value rows, " + std::to_string(r.q_rows) + " query rows (" +
                   r.tile_reason + ")"},
      {"tuning", r.tuning_status},
      {"gpu", r.gpu_status}};
  for (const MachineReport::Gpu& g : r.gpus)
    rows.push_back({"", g.name + ", compute capability " + std::to_string(g.compute_major) + "." +
                            std::to_string(g.compute_minor) + ", " +
                            Plural(g.multiprocessors, "multiprocessor") + ", " +
                            FormatBytes(g.memory_total_bytes) + ", tile " + std::to_string(g.tile) + " (" +
                            g.tile_reason + ")"});
  rows.push_back({"gpu code", r.gpu_code});
  std::string out;
  for (const auto& [name, value] : rows) out += name + std::string(14 - name.size(), ' ') + value + "\n";
  return out;
}

}  // namespace

Command AddProbe(CLI::App& root) {
  struct State {
    CommonOptions common;
  };
  const auto state = std::make_shared<State>();
  CLI::App* app = root.add_subcommand(
      "probe", "Shows the processor, caches, memory, GPUs, and the attention tile chosen for them");
  app->add_flag("--json", state->common.json, "one JSON document instead of text");
  app->add_flag("--verbose", state->common.verbose, "also print informational messages");
  RefuseEmpty(
      app->add_option("--isa", state->common.isa, "ask for this instruction set, as other subcommands do"),
      "the name of an instruction set")
      ->type_name("NAME");
  app->footer(kFooter);
  return {app, [state](Console& console) {
            console.verbose = state->common.verbose;
            if (!state->common.isa.empty()) TakingOptions([&] { SelectInstructionSet(state->common.isa); });
            const MachineReport report = TakingOptions(ProbeMachine);
            if (state->common.json) {
              console.OutJson(ToJson(report));
            } else {
              console.Out(ToText(report));
            }
            return kDone;
          }};
}

}  // namespace qwen3vl::cli
