// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/tune.h"

#include <algorithm>
#include <memory>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/attention_case.h"
#include "qwen3vl/bench/command_line.h"
#include "qwen3vl/bench/output.h"
#include "qwen3vl/error.h"
#include "qwen3vl/model_files.h"

namespace qwen3vl::bench {
namespace {

constexpr double kWorthLeavingTheTable = 0.98;
constexpr double kWorthLeavingTiled = 0.95;
constexpr double kWorthOtherThreads = 0.95;
constexpr double kMaxError = 1e-2;  // relative: far above the rounding of an f16 cache, far below any mistake
constexpr size_t kCheckedRows = 4;
constexpr size_t kMaxScratchBytes = 1 << 20;  // of a thread: larger plans are cut down when they run

// What would be stored, and what it makes of the problem measured.
struct Candidate {
  hw::TunedPlan stored;
  hw::TilePlan plan;
};

bool Usable(const Row& row) { return row.accuracy && row.accuracy->rel_norm <= kMaxError; }

std::string List(const std::vector<size_t>& values) {
  std::string out;
  for (const size_t v : values) out += (out.empty() ? "" : ",") + std::to_string(v);
  return out;
}

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
    const std::optional<size_t> fastest = FastestThreads(seconds, machine_.cpu.default_threads);
    for (TuningEntry& e : result.entries) e.fastest = e.key.threads == fastest;
    result.seconds = seconds.at(fastest.value_or(seconds.begin()->first));
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
    const std::vector<Candidate> candidates = Candidates(problem);
    std::vector<Row> rows;
    {
      const auto data = std::make_shared<AttentionData>(problem);
      std::vector<Variant> variants;
      for (const Candidate& c : candidates) variants.push_back(MakeVariant(data, shape, kTiledForm, c.plan));
      rows = Take(variants);
    }
    const size_t best = BestPlan(rows);
    TuningEntry entry{.key = CurrentKey(machine_.cpu, threads), .plan = candidates[best].stored};
    entry.plan.standard_below = StandardBelow(shape, threads, entry.plan);
    result.findings.push_back(Finding(shape, entry, candidates, rows, best));
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

  // What a run makes of `p` when `tuned` is stored.
  hw::TilePlan PlanOf(const AttentionProblem& p, const hw::TunedPlan& tuned) const {
    return hw::ChooseTilePlan(machine_,
                              {.q_len = p.q_len,
                               .kv_len = p.kv_len,
                               .n_heads = p.shape.n_heads,
                               .n_kv_heads = p.shape.n_kv_heads,
                               .head_dim = p.shape.head_dim},
                              {.threads = p.threads}, {&tuned, 1});
  }

  // The prescribed plan first.
  std::vector<Candidate> Candidates(const AttentionProblem& p) const {
    hw::TunedPlan stored{.head_dim = p.shape.head_dim, .group = p.shape.n_heads / p.shape.n_kv_heads};
    const hw::TilePlan prescribed = PlanOf(p, stored);  // no tile: the table counts
    stored.tile = prescribed.tile;
    std::vector<Candidate> candidates = {{stored, prescribed}};
    std::vector<size_t> row_counts = {0};
    for (const size_t rows : options_.q_rows)
      if (rows <= p.q_len * stored.group) row_counts.push_back(rows);
    for (const size_t tile : options_.tiles)
      for (const size_t rows : row_counts) {
        stored.tile = tile;
        stored.q_rows = rows;
        const hw::TilePlan plan = PlanOf(p, stored);
        const bool known = std::ranges::any_of(candidates, [&](const Candidate& c) {
          return c.plan.tile == plan.tile && c.plan.q_rows == plan.q_rows;
        });
        if (!known && plan.scratch_bytes_per_thread <= kMaxScratchBytes) candidates.push_back({stored, plan});
      }
    return candidates;
  }

  // As sessions have it by default (CpuProducts::kAuto), of text and of towers in 16 bits or fewer.
  static constexpr AttentionForm kTiledForm = AttentionForm::kInt16;

  Variant MakeVariant(const std::shared_ptr<AttentionData>& data, const TuneShape& shape, AttentionForm form,
                      const hw::TilePlan& plan) const {
    Row row;
    row.layer = data->problem().q_len == 1 ? "attention.decode" : "attention.prefill";
    row.preset = shape.name;
    row.command = Command(shape, data->problem(), plan);
    return MakeAttentionVariant(data, {form, plan, kCheckedRows}, row);
  }

  std::string Command(const TuneShape& shape, const AttentionProblem& p, const hw::TilePlan& plan) const {
    const bool prompt = p.q_len == options_.prompt;
    return options_.command + shape.source + " --tiles " + std::to_string(plan.tile) + " --q-rows " +
           std::to_string(plan.q_rows) + " --thread-counts " + std::to_string(plan.threads) + " --prompt " +
           std::to_string(options_.prompt) + " --keys " + std::to_string(options_.keys) +
           " --short-lengths " + (prompt ? List(options_.short_lengths) : std::to_string(p.kv_len)) +
           " --dry-run" + options_.command_tail;
  }

  std::vector<Row> Take(std::vector<Variant>& variants) const {
    const std::vector<Row> rows = Measure(variants, measure_, nullptr);
    for (const Row& row : rows) sink_(row);
    if (rows.size() < variants.size())
      throw Error(ErrorCode::kUnsupported, "too few samples on quiet cores to choose by; nothing is stored");
    return rows;
  }

  size_t StandardBelow(const TuneShape& shape, size_t threads, const hw::TunedPlan& tuned) const {
    size_t below = 0;
    for (const size_t length : options_.short_lengths) {
      if (!StandardWins(shape, Problem(shape, length, length, threads), tuned)) break;
      if (shape.attention.causal && !StandardWins(shape, Problem(shape, 1, length, threads), tuned)) break;
      below = length + 1;
    }
    return below;
  }

  bool StandardWins(const TuneShape& shape, const AttentionProblem& problem,
                    const hw::TunedPlan& tuned) const {
    const hw::TilePlan plan = PlanOf(problem, tuned);
    const auto data = std::make_shared<AttentionData>(problem);
    std::vector<Variant> variants = {MakeVariant(data, shape, kTiledForm, plan),
                                     MakeVariant(data, shape, AttentionForm::kStandard, plan)};
    const std::vector<Row> rows = Take(variants);
    return StandardIsFaster(rows[0], rows[1]);
  }

  static std::string Finding(const TuneShape& shape, const TuningEntry& entry,
                             const std::vector<Candidate>& candidates, const std::vector<Row>& rows,
                             size_t best) {
    const auto text = [&](size_t i) {
      return std::to_string(candidates[i].plan.tile) + " and " + std::to_string(candidates[i].plan.q_rows);
    };
    std::string line = shape.name + ", " + entry.key.isa + ", " + std::to_string(entry.key.threads) +
                       " threads: tile and q rows " + text(best);
    if (best == 0)
      line += ", as prescribed";
    else
      line += ", " + FormatValue(rows[0].stats.median / rows[best].stats.median) +
              " times as fast as prescribed " + text(0);
    const size_t below = entry.plan.standard_below;
    return line + (below ? "; standard attention below " + std::to_string(below) + " keys"
                         : "; tiled attention at every length");
  }

  const TuneOptions& options_;
  const MeasureOptions& measure_;
  const std::function<void(const Row&)>& sink_;
  hw::Machine machine_;
};

}  // namespace

size_t BestPlan(std::span<const Row> rows) {
  size_t best = 0;
  for (size_t i = 1; i < rows.size(); ++i)
    if (Usable(rows[i]) && (!Usable(rows[best]) || rows[i].stats.median < rows[best].stats.median)) best = i;
  return Usable(rows[0]) && rows[best].stats.median > kWorthLeavingTheTable * rows[0].stats.median ? 0 : best;
}

bool StandardIsFaster(const Row& tiled, const Row& standard) {
  return Usable(standard) && standard.stats.median < kWorthLeavingTiled * tiled.stats.median;
}

std::optional<size_t> FastestThreads(const std::map<size_t, double>& seconds, size_t usual) {
  const auto base = seconds.find(usual);
  if (base == seconds.end() || seconds.size() < 2) return std::nullopt;
  const auto best = std::ranges::min_element(
      seconds, {}, [](const std::pair<const size_t, double>& entry) { return entry.second; });
  return best->second < kWorthOtherThreads * base->second ? best->first : usual;
}

std::vector<TuneShape> ShapesOfPreset(const std::string& name) {
  std::vector<TuneShape> shapes;
  for (const Preset* p : FindPresets(name))
    shapes.push_back({std::string(p->name), p->attention, " --preset " + std::string(p->name)});
  return shapes;
}

std::vector<TuneShape> ShapesOfModel(const std::string& model, const std::string& mmproj) {
  const ModelConfig config = LoadModelFiles(model, {.mmproj = mmproj, .header_only = true}).config;
  const TextConfig& t = config.text;
  const std::string source =
      " -m " + ShellWord(model) + (mmproj.empty() ? "" : " --mmproj " + ShellWord(mmproj));
  std::vector<TuneShape> shapes = {{config.name + ".text",
                                    {.n_heads = t.n_heads,
                                     .n_kv_heads = t.n_kv_heads,
                                     .head_dim = t.head_dim,
                                     .causal = true,
                                     .n_layers = t.n_layers},
                                    source}};
  if (config.vision)
    shapes.push_back({config.name + ".vision",
                      {.n_heads = config.vision->n_heads,
                       .n_kv_heads = config.vision->n_heads,
                       .head_dim = config.vision->head_dim(),
                       .n_layers = config.vision->n_layers},
                      source});
  return shapes;
}

TuneResult RunTune(const TuneOptions& options, const MeasureOptions& measure,
                   const std::function<void(const Row&)>& sink) {
  return TuneRun(options, measure, sink).Run();
}

}  // namespace qwen3vl::bench
