// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/tune.h"

#include <algorithm>
#include <map>
#include <memory>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/output.h"
#include "qwen3vl/model_files.h"

namespace qwen3vl::bench {
namespace {

constexpr double kWorthLeavingTheTable = 0.98;
constexpr double kWorthLeavingTiled = 0.95;
constexpr double kMaxError = 1e-2;  // relative: far above the rounding of an f16 cache, far below any mistake
constexpr size_t kCheckedRows = 4;
constexpr size_t kMaxScratchBytes = 1 << 20;  // of a thread: larger plans are cut down when they run

using Plans = std::vector<hw::TilePlan>;

class TuneRun {
 public:
  TuneRun(const TuneOptions& options, const MeasureOptions& measure,
          const std::function<void(const Row&)>& sink)
      : options_(options), measure_(measure), sink_(sink) {
    machine_.cpu = hw::ProbeCpu();
    machine_.free_memory_bytes = machine_.cpu.memory_available_bytes;
  }

  TuneResult Run() {
    TuneResult result;
    std::map<size_t, double> seconds;  // by thread count
    for (const size_t threads : ThreadCounts())
      for (const TuneShape& shape : options_.shapes) seconds[threads] += Tune(shape, threads, result);
    const auto best = std::ranges::min_element(
        seconds, {}, [](const std::pair<const size_t, double>& entry) { return entry.second; });
    for (TuningEntry& e : result.entries) e.fastest = e.key.threads == best->first;
    result.seconds = best->second;
    return result;
  }

 private:
  std::vector<size_t> ThreadCounts() const {
    if (!options_.threads.empty()) return options_.threads;
    const hw::CpuInfo& cpu = machine_.cpu;
    if (cpu.logical_cores == cpu.default_threads) return {cpu.default_threads};
    return {cpu.default_threads, cpu.logical_cores};
  }

  AttentionProblem Problem(const TuneShape& shape, size_t q_len, size_t kv_len, size_t threads) const {
    AttentionProblem p{.shape = shape.attention, .q_len = q_len, .kv_len = kv_len, .threads = threads};
    p.cache = shape.attention.causal && shape.attention.batch == 1;
    if (p.cache) p.kv_format = hw::Format::kF16;
    return p;
  }

  // The seconds of the fastest plan on a prompt.
  double Tune(const TuneShape& shape, size_t threads, TuneResult& result) {
    const size_t keys = shape.attention.causal ? std::max(options_.keys, options_.prompt) : options_.prompt;
    const AttentionProblem problem = Problem(shape, options_.prompt, keys, threads);
    const Plans plans = Candidates(problem);
    std::vector<Row> rows;
    {
      const auto data = std::make_shared<AttentionData>(problem);
      std::vector<Variant> variants;
      for (const hw::TilePlan& plan : plans)
        variants.push_back(MakeVariant(data, shape, AttentionForm::kTiled, plan));
      rows = Take(variants);
    }
    size_t best = 0;
    for (size_t i = 1; i < rows.size(); ++i)
      if (Usable(rows[i]) && rows[i].stats.median < rows[best].stats.median) best = i;
    if (rows[best].stats.median > kWorthLeavingTheTable * rows[0].stats.median) best = 0;

    TuningEntry entry{.key = CurrentKey(machine_.cpu, threads)};
    entry.plan = {.head_dim = shape.attention.head_dim,
                  .group = shape.attention.n_heads / shape.attention.n_kv_heads,
                  .tile = plans[best].tile,
                  .q_rows = plans[best].q_rows,
                  .standard_below = StandardBelow(shape, threads, plans[best])};
    result.findings.push_back(Finding(shape, entry, plans[0], rows[best], rows[0]));
    Add(entry, result.entries);
    return rows[best].stats.median;
  }

  // Text towers of several presets may have heads of one shape: the last one counts.
  static void Add(const TuningEntry& entry, std::vector<TuningEntry>& entries) {
    std::erase_if(entries, [&](const TuningEntry& e) {
      return e.key == entry.key && e.plan.head_dim == entry.plan.head_dim && e.plan.group == entry.plan.group;
    });
    entries.push_back(entry);
  }

  // The prescribed plan first.
  Plans Candidates(const AttentionProblem& p) const {
    const hw::AttentionProblem problem{.q_len = p.q_len,
                                       .kv_len = p.kv_len,
                                       .n_heads = p.shape.n_heads,
                                       .n_kv_heads = p.shape.n_kv_heads,
                                       .head_dim = p.shape.head_dim};
    Plans plans = {hw::ChooseTilePlan(machine_, problem, {.threads = p.threads})};
    const hw::TilePlan prescribed = plans[0];
    for (const size_t tile : options_.tiles)
      for (const size_t q_rows : options_.q_rows) {
        if (tile == prescribed.tile && q_rows == prescribed.q_rows) continue;
        hw::TilePlan plan = prescribed;
        plan.tile = tile;
        plan.q_rows = q_rows;
        plan.scratch_bytes_per_thread = hw::TileScratchBytes(tile, q_rows, p.shape.head_dim);
        plan.reason = "candidate";
        if (plan.scratch_bytes_per_thread <= kMaxScratchBytes) plans.push_back(plan);
      }
    return plans;
  }

  Variant MakeVariant(const std::shared_ptr<AttentionData>& data, const TuneShape& shape, AttentionForm form,
                      const hw::TilePlan& plan) const {
    Row row;
    row.layer = data->problem().q_len == 1 ? "attention.decode" : "attention.prefill";
    row.preset = shape.name;
    return MakeAttentionVariant(data, {form, plan, kCheckedRows}, row);
  }

  std::vector<Row> Take(std::vector<Variant>& variants) const {
    const std::vector<Row> rows = Measure(variants, measure_, nullptr);
    for (const Row& row : rows) sink_(row);
    return rows;
  }

  static bool Usable(const Row& row) { return row.accuracy && row.accuracy->rel_norm <= kMaxError; }

  size_t StandardBelow(const TuneShape& shape, size_t threads, const hw::TilePlan& plan) const {
    size_t below = 0;
    for (const size_t length : options_.short_lengths) {
      if (!StandardWins(shape, Problem(shape, length, length, threads), plan)) break;
      if (shape.attention.causal && !StandardWins(shape, Problem(shape, 1, length, threads), plan)) break;
      below = length + 1;
    }
    return below;
  }

  bool StandardWins(const TuneShape& shape, const AttentionProblem& problem, const hw::TilePlan& plan) const {
    const auto data = std::make_shared<AttentionData>(problem);
    std::vector<Variant> variants = {MakeVariant(data, shape, AttentionForm::kTiled, plan),
                                     MakeVariant(data, shape, AttentionForm::kStandard, plan)};
    const std::vector<Row> rows = Take(variants);
    return rows[1].stats.median < kWorthLeavingTiled * rows[0].stats.median;
  }

  static std::string Finding(const TuneShape& shape, const TuningEntry& entry, const hw::TilePlan& prescribed,
                             const Row& best, const Row& table) {
    const hw::TunedPlan& plan = entry.plan;
    std::string line = shape.name + ", " + entry.key.isa + ", " + std::to_string(entry.key.threads) +
                       " threads: tile " + std::to_string(plan.tile) + ", q rows " +
                       std::to_string(plan.q_rows);
    if (best.stats.median < table.stats.median)
      line += ", " + FormatValue(table.stats.median / best.stats.median) + " times as fast as prescribed " +
              std::to_string(prescribed.tile) + " and " + std::to_string(prescribed.q_rows);
    else
      line += ", as prescribed";
    return line + (plan.standard_below
                       ? "; standard attention below " + std::to_string(plan.standard_below) + " keys"
                       : "; tiled attention at every length");
  }

  const TuneOptions& options_;
  const MeasureOptions& measure_;
  const std::function<void(const Row&)>& sink_;
  hw::Machine machine_;
};

}  // namespace

std::vector<TuneShape> ShapesOfPreset(const std::string& name) {
  std::vector<TuneShape> shapes;
  for (const Preset* p : FindPresets(name)) shapes.push_back({std::string(p->name), p->attention});
  return shapes;
}

std::vector<TuneShape> ShapesOfModel(const std::string& model, const std::string& mmproj) {
  const ModelConfig config = LoadModelFiles(model, {.mmproj = mmproj, .header_only = true}).config;
  const TextConfig& t = config.text;
  std::vector<TuneShape> shapes = {{config.name + ".text",
                                    {.n_heads = t.n_heads,
                                     .n_kv_heads = t.n_kv_heads,
                                     .head_dim = t.head_dim,
                                     .causal = true,
                                     .n_layers = t.n_layers}}};
  if (config.vision)
    shapes.push_back({config.name + ".vision",
                      {.n_heads = config.vision->n_heads,
                       .n_kv_heads = config.vision->n_heads,
                       .head_dim = config.vision->head_dim(),
                       .n_layers = config.vision->n_layers}});
  return shapes;
}

TuneResult RunTune(const TuneOptions& options, const MeasureOptions& measure,
                   const std::function<void(const Row&)>& sink) {
  return TuneRun(options, measure, sink).Run();
}

}  // namespace qwen3vl::bench
