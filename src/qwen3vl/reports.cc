// SPDX-License-Identifier: Apache-2.0
// What `probe` and `inspect` show: facts about the machine, and about a model's files before they are loaded.
#include <charconv>
#include <iterator>

#include "attention/cuda/attention_cuda.h"
#include "hw/cpu_info.h"
#include "hw/gpu_info.h"
#include "hw/tile_plan.h"
#include "qwen3vl/memory_need.h"
#include "qwen3vl/model.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl {

namespace {

// "heads of 128 in groups of 4: tile 256, 192 query rows"
std::string Describe(const hw::TunedPlan& t) {
  const auto n = [](size_t value) { return std::to_string(value); };
  return "heads of " + n(t.head_dim) + " in groups of " + n(t.group) + ": tile " + n(t.tile) +
         (t.q_rows ? ", " + n(t.q_rows) + " query rows" : "") +
         (t.standard_below ? ", standard below " + n(t.standard_below) + " keys" : "");
}

}  // namespace

MachineReport ProbeMachine() {
  const hw::CpuInfo cpu = hw::ProbeCpu();
  MachineReport r;
  r.cpu = cpu.model_name;
  r.logical_cores = cpu.logical_cores;
  r.physical_cores = cpu.physical_cores;
  r.performance_cores = cpu.performance_cores;
  r.efficiency_cores = cpu.efficiency_cores;
  r.l1d_bytes = cpu.l1d_bytes;
  r.l2_bytes = cpu.l2_bytes;
  r.l3_bytes = cpu.l3_bytes;
  r.memory_total_bytes = cpu.memory_total_bytes;
  r.memory_available_bytes = cpu.memory_available_bytes;
  r.container_limited = cpu.container_limited;
  for (hw::Isa isa : hw::AvailableIsas()) r.isas.emplace_back(hw::Name(isa));
  r.isa = hw::Name(hw::SelectedIsa());

  hw::Machine machine{.cpu = cpu, .free_memory_bytes = cpu.memory_available_bytes};
  const hw::AttentionProblem prompt{.q_len = 512, .kv_len = 4096};
  const HeadShape heads{prompt.head_dim, prompt.n_heads / prompt.n_kv_heads};
  r.default_threads = TunedThreads(cpu, {&heads, 1});
  const Tuning tuning = FindTuning(cpu, r.default_threads, {});
  const hw::TilePlan plan = hw::ChooseTilePlan(machine, prompt, {.threads = r.default_threads}, tuning.plans);
  r.tile = plan.tile;
  r.q_rows = plan.q_rows;
  r.tile_reason = plan.reason;
  r.tuning_status = tuning.status;
  for (const hw::TunedPlan& t : tuning.plans) r.tuning_status += "; " + Describe(t);
  const hw::GpuList gpus = hw::ListGpus();
  r.gpu_status = gpus.status;
  r.gpu_code = attention::DescribeDeviceCode();
  for (const hw::GpuInfo& g : gpus.devices) {
    machine.gpu = &g;
    const hw::TilePlan on_gpu = hw::ChooseTilePlan(machine, prompt);
    r.gpus.push_back({g.name, g.compute_major, g.compute_minor, g.multiprocessors, g.shared_bytes_per_block,
                      g.memory_total_bytes, on_gpu.tile, on_gpu.reason});
  }
  return r;
}

void SelectInstructionSet(std::string_view name) { hw::SelectIsa(name); }

namespace {

std::string Join(const auto& values) {
  std::string out;
  for (const auto& v : values) out += (out.empty() ? "" : ", ") + std::to_string(v);
  return out;
}

// The fewest digits that mean this number; with a point in every locale.
std::string Digits(double value) {
  char text[64];
  return {text, std::to_chars(text, std::end(text), value, std::chars_format::fixed).ptr};
}

std::vector<std::pair<std::string, std::string>> ConfigRows(const ModelConfig& c) {
  const TextConfig& t = c.text;
  const auto n = [](auto v) { return std::to_string(v); };
  std::vector<std::pair<std::string, std::string>> rows = {
      {"layers", n(t.n_layers)},
      {"width", n(t.dim)},
      {"query heads", n(t.n_heads)},
      {"key/value heads", n(t.n_kv_heads)},
      {"head width", n(t.head_dim)},
      {"feed-forward width", n(t.n_experts ? t.expert_ffn_dim : t.ffn_dim)},
      {"vocabulary", n(t.vocab_size)},
      {"longest context", n(t.max_seq_len)},
      {"rope theta", Digits(t.rope_theta)},
      {"M-RoPE sections", Join(t.mrope_section)},
      {"tied embeddings", t.tied_embeddings ? "yes" : "no"}};
  if (t.n_experts) rows.push_back({"experts", n(t.n_experts) + ", " + n(t.n_experts_used) + " a token"});
  if (!c.vision) return rows;
  const VisionConfig& v = *c.vision;
  rows.push_back({"vision layers", n(v.n_layers)});
  rows.push_back({"vision width", n(v.dim)});
  rows.push_back({"vision heads", n(v.n_heads) + " of " + n(v.head_dim())});
  rows.push_back({"vision feed-forward width", n(v.ffn_dim)});
  rows.push_back({"deepstack after blocks", Join(v.deepstack_layers)});
  const size_t side = v.patch_size * v.merge_size;
  rows.push_back({"image tokens", n(c.preprocess.image_min_pixels / (side * side)) + " to " +
                                      n(c.preprocess.image_max_pixels / (side * side))});
  return rows;
}

}  // namespace

FileReport InspectModel(const std::string& path, const InspectOptions& options) {
  const ModelFiles files = LoadModelFiles(path, {.mmproj = options.mmproj, .header_only = true});
  FileReport r;
  r.info = MakeModelInfo(files);
  for (const TensorEntry& e : files.tensors)
    r.tensors.push_back({e.name, e.file, std::string(hw::Name(e.format)), e.shape, e.bytes});
  r.warnings = files.warnings;
  const VisualSize largest{options.image_width, options.image_height, options.image_frames};
  r.memory = EstimateMemory(files.config, r.info.weight_bytes, options.session, largest);
  r.memory.gpu = EstimateGpuMemory(files.config, files.tensors, options.session, largest);
  if (const auto& v = files.config.vision; v && largest.width && largest.height)
    r.image_tokens = PatchesOf(files.config, options.session, largest) / (v->merge_size * v->merge_size);
  r.config = ConfigRows(files.config);
  return r;
}

}  // namespace qwen3vl
