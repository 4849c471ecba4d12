// SPDX-License-Identifier: Apache-2.0
// `qwen3vl trace attention`: the attention operation alone, on tensors from a file.
#include <algorithm>
#include <filesystem>
#include <memory>

#include "attention/attention.h"
#include "hw/cpu_info.h"
#include "hw/tile_plan.h"
#include "qwen3vl/cli/attention_case.h"
#include "qwen3vl/cli/command.h"
#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/kv_type.h"
#include "qwen3vl/safetensors.h"

namespace qwen3vl::cli {
namespace {

constexpr const char* kFooter =
    R"(CASE.safetensors holds q [n_heads, q_len, head_dim], k and v [n_kv_heads, kv_len, head_dim] as F32, F16 or BF16;
optionally bias [n_heads or 1, q_len, kv_len] (F32) and mask [q_len, kv_len] (U8, 1: allowed). Metadata, as texts:
scale (default 1/sqrt(head_dim)), causal ("1"; aligned at the bottom right), softcap, valid_range ("a,b": keys a to
b - 1 exist), segments ("0,5,9"), window. Order of work: scale, softcap, bias, masks, softmax, times v.

OUT.safetensors gets out [n_heads, q_len, head_dim] and lse [n_heads, q_len] (-inf where nothing is seen); its
metadata say which path ran and why. Without --kv-type k and v are read as they are; with it they pass through a KV
cache.

Example:
  qwen3vl trace attention --in case.safetensors --out result.safetensors --attention tiled --tile 64 --isa avx2)";

struct State {
  CommonOptions common;
  std::string in, out;
  const CLI::Option* kv_type = nullptr;
};

attention::PathRequest ToRequest(AttentionChoice choice) {
  using attention::PathRequest;
  constexpr PathRequest kRequests[] = {PathRequest::kAuto, PathRequest::kCuda, PathRequest::kTiled,
                                       PathRequest::kStandard};
  return kRequests[static_cast<size_t>(choice)];
}

hw::TilePlan MakePlan(const attention::Shape& s, const SessionOptions& options) {
  hw::Machine machine;
  machine.cpu = hw::ProbeCpu();
  machine.free_memory_bytes = machine.cpu.memory_available_bytes;
  return hw::ChooseTilePlan(machine,
                            {.q_len = s.q_len,
                             .kv_len = s.kv_len,
                             .n_heads = s.n_heads,
                             .n_kv_heads = s.n_kv_heads,
                             .head_dim = s.head_dim},
                            {.tile = options.tile, .threads = options.threads});
}

// [q_len, n_heads, head_dim] -> [n_heads, q_len, head_dim]
std::vector<float> HeadsOutermost(const std::vector<float>& rows, const attention::Shape& s) {
  std::vector<float> out(rows.size());
  for (size_t i = 0; i < s.q_len; ++i)
    for (size_t h = 0; h < s.n_heads; ++h)
      std::copy_n(rows.data() + (i * s.n_heads + h) * s.head_dim, s.head_dim,
                  out.data() + (h * s.q_len + i) * s.head_dim);
  return out;
}

// Those before the word attention, which nobody would look at.
void RefuseOptionsOf(const CLI::App& trace) {
  for (const CLI::Option* option : trace.get_options())
    if (option->count())
      throw CLI::ValidationError(option->get_name(),
                                 "given before 'attention', where nothing reads it, want it after");
}

ExitCode TraceAttention(const State& state, Console& console) {
  console.verbose = state.common.verbose;
  std::error_code problem_with_names;
  if (std::filesystem::equivalent(state.in, state.out, problem_with_names))
    throw CLI::ValidationError("--out", "'" + state.out + "' is the file of --in, want another name");
  SelectIsa(state.common);
  AttentionCase problem(state.in);
  const SessionOptions& options = state.common.session;
  if (state.kv_type->count()) TakingOptions([&] { problem.UseCache(ToFormat(options.kv_type)); });

  const attention::Shape& s = problem.inputs().shape;
  attention::Options how;
  how.request = ToRequest(options.attention);
  how.cpu_products = ToProducts(options.cpu_products);
  how.gpu_scores =
      options.gpu_scores == GpuScores::kInt8 ? attention::GpuScores::kInt8 : attention::GpuScores::kF32;
  how.plan = MakePlan(s, options);
  how.cancel = &InterruptFlag();
  how.check_finite = options.check_finite;
  std::vector<float> rows(s.q_len * s.n_heads * s.head_dim), lse(s.n_heads * s.q_len);
  attention::Outputs out;
  out.out = rows.data();
  out.lse = lse.data();
  attention::Workspace workspace;
  const attention::AttentionReport report = ReadingFiles([&] {
    try {
      return attention::Attend(problem.inputs(), out, how, workspace);
    } catch (const Error& e) {
      throw Error(e.code(), state.in + ": " + e.what());
    }
  });
  CheckInterrupted();

  const std::string path(attention::Name(report.used));
  const std::string tile = std::to_string(report.tile);
  const std::string why =
      report.sentence.empty() ? "asked for " + std::string(Name(options.attention)) : report.sentence;
  SafetensorsWriter file(state.out);
  file.Add("out", {s.n_heads, s.q_len, s.head_dim}, HeadsOutermost(rows, s));
  file.Add("lse", {s.n_heads, s.q_len}, lse);
  const std::pair<const char*, std::string> facts[] = {
      {"version", QWEN3VL_VERSION},
      {"path", path},
      {"why", why},
      {"asked", std::string(Name(options.attention))},
      {"cause", std::string(attention::Name(report.cause))},
      {"scores", std::string(attention::Name(report.scores))},
      {"products", std::string(attention::Name(report.products))},
      {"tile", tile},
      {"tile_reason", report.tile_reason},
      {"isa", std::string(hw::Name(hw::SelectedIsa()))},
      {"threads", std::to_string(how.plan.threads)},
      {"kv_type", state.kv_type->count() ? std::string(Name(options.kv_type)) : "as in the file"}};
  for (const auto& [key, value] : facts) file.SetMetadata(key, value);
  SetInterruptDeadline(false);
  file.Finish();
  console.Note(path + " (" + why + "), tile " + tile + ", " + Plural(how.plan.threads, "thread") + ", " +
               std::string(hw::Name(hw::SelectedIsa())) + "; " + state.out + ": written");
  return kDone;
}

}  // namespace

Command AddTraceAttention(CLI::App& trace) {
  const auto state = std::make_shared<State>();
  CLI::App* app =
      trace.add_subcommand("attention", "Runs the attention operation alone, on tensors from a file");
  AddPath(*app, "--in", state->in, "q, k, v and conditions", "FILE")->required();
  AddPath(*app, "--out", state->out, "the file to write", "FILE")->required();
  AddAttentionOptions(*app, state->common);
  app->add_flag("--check-finite", state->common.session.check_finite,
                "recompute attention that gives a non-finite number");
  app->add_flag("--verbose", state->common.verbose, "also print informational messages");
  state->kv_type = app->get_option("--kv-type");
  app->footer(kFooter);
  return {app, [state, &trace](Console& console) {
            RefuseOptionsOf(trace);
            return TraceAttention(*state, console);
          }};
}

}  // namespace qwen3vl::cli
