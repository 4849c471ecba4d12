// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/layer.h"

#include <algorithm>

#include "hw/cpu_info.h"
#include "qwen3vl/bench/linear_case.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/error.h"
#include "qwen3vl/interleave.h"
#include "qwen3vl/kv_type.h"
#include "qwen3vl/linear_simd.h"
#include "qwen3vl/tuning.h"

namespace qwen3vl::bench {
namespace {

constexpr const char* kDecode = "attention.decode";
constexpr size_t kDecodeContext = 4096;
constexpr size_t kStreamedTokens = 4;  // products of so few rows are bound by reading the weights

using Formats = std::vector<hw::Format>;

bool IsKvFormat(hw::Format f) {
  return f == hw::Format::kF32 || f == hw::Format::kF16 || f == hw::Format::kBF16 || f == hw::Format::kQ8_0;
}

class LayerRun {
 public:
  LayerRun(const LayerOptions& options, const MeasureOptions& measure, PeakMeter* peaks,
           const std::function<void(const Row&)>& sink)
      : options_(options),
        measure_(measure),
        peaks_(peaks),
        sink_(sink),
        threads_(ThreadsOrDefault(options.threads)) {}

  void Run(const Preset& preset) {
    Prefill(preset);
    Decode(preset);
    Linears(preset);
    RowWise(preset);
  }
  bool ran() const { return ran_; }
  // Whether a row was left out for --max-standard.
  bool beyond_standard() const { return beyond_standard_; }

 private:
  bool Wanted(const std::string& layer) const {
    return options_.kinds.empty() || std::ranges::any_of(options_.kinds, [&](const std::string& kind) {
             return layer == kind || layer.starts_with(kind + ".");
           });
  }

  std::string Command(const Preset& preset, const std::string& layer, const std::string& rest) const {
    return options_.command + " --preset " + std::string(preset.name) + " --kind " + layer + rest +
           " --threads " + std::to_string(threads_) + options_.command_tail;
  }

  std::string AttentionOptions(const AttentionProblem& p, AttentionForm path, bool decode) const {
    const LayerOptions usual;
    std::string out = (decode ? " --contexts " : " --lengths ") + std::to_string(p.kv_len) + " --dtype " +
                      std::string(hw::Name(p.kv_format)) + " --path " + std::string(Name(path));
    if (options_.tile) out += " --tile " + std::to_string(options_.tile);
    if (!options_.use_tuning) out += " --tile prescribed";
    if (options_.q_rows) out += " --q-rows " + std::to_string(options_.q_rows);
    if (options_.check_rows != usual.check_rows)
      out += " --check-rows " + std::to_string(options_.check_rows);
    if (!IsTiled(path) && options_.max_standard_flop > usual.max_standard_flop)
      out += " --max-standard " + std::to_string(static_cast<size_t>(options_.max_standard_flop / 1e9));
    return out;
  }

  void LeaveOut(const Preset& preset, const std::string& what, const std::string& why) const {
    Note(measure_, std::string(preset.name) + " " + what + ": " + why + ", left out");
  }

  // For inputs of `bytes` that are to come from memory.
  size_t Copies(size_t bytes, const Preset& preset, const std::string& layer) const {
    const hw::CpuInfo cpu = hw::ProbeCpu();
    const size_t copies = CopiesBeyondCache(bytes, cpu);
    if (copies * bytes <= kCachesBeyond * cpu.l3_bytes)
      Note(measure_, std::string(preset.name) + " " + layer + ": memory for " + std::to_string(copies) +
                         " copies of the inputs only, which a cache may hold");
    return copies;
  }

  Row NewRow(const Preset& preset, const std::string& layer, const std::string& rest) const {
    Row row;
    row.layer = layer;
    row.preset = preset.name;
    row.command = Command(preset, layer, rest);
    return row;
  }

  void Take(std::vector<Variant>& variants) {
    if (variants.empty()) return;
    ran_ = true;
    for (const Row& row : Measure(variants, measure_, peaks_)) sink_(row);
    variants.clear();
  }

  // All paths on all formats of one problem, measured together.
  void Attention(const Preset& preset, const std::string& layer, AttentionProblem problem,
                 const Formats& formats) {
    std::vector<Variant> variants;
    const bool decode = layer == kDecode;
    for (const hw::Format format : formats) {
      problem.kv_format = format;
      problem.cache =
          decode || (preset.attention.causal && problem.shape.batch == 1 && format != hw::Format::kF32);
      problem.threads = threads_;
      problem.layers = 1;
      if (decode && options_.cold)
        problem.layers = Copies(static_cast<size_t>(AttentionBytes(problem)), preset, layer);
      const std::shared_ptr<AttentionData> data = DataFor(preset, layer, problem);
      if (!data) continue;
      const std::vector<AttentionForm> paths = PathsFor(format);
      for (const AttentionForm path : paths) {
        if (decode && path == AttentionForm::kWeights) continue;  // a row of them: as standard
        // A row is multiplied as tiled ever does it.
        if (decode && path == AttentionForm::kInt16 && Contains(paths, AttentionForm::kTiled)) continue;
        if (const std::string why = WhyNot(problem, path); !why.empty()) {
          LeaveOut(preset,
                   layer + " " + std::string(Name(path)) + ", " + std::to_string(problem.kv_len) + " keys",
                   why);
          continue;
        }
        const std::string rest = AttentionOptions(problem, path, decode);
        variants.push_back(MakeAttentionVariant(data, {path, PlanFor(problem, options_), options_.check_rows},
                                                NewRow(preset, layer, rest)));
      }
    }
    Take(variants);
  }

  // Where --path says nothing: whole numbers too, where keys, values or weights have 16 bits or fewer.
  std::vector<AttentionForm> PathsFor(hw::Format format) const {
    if (!options_.paths.empty()) return options_.paths;
    std::vector<AttentionForm> paths = {AttentionForm::kTiled, AttentionForm::kStandard};
    if (format != hw::Format::kF32) paths.push_back(AttentionForm::kInt16);
    return paths;
  }

  // Null where the inputs cannot be made; a note says why.
  std::shared_ptr<AttentionData> DataFor(const Preset& preset, const std::string& layer,
                                         const AttentionProblem& problem) const {
    try {
      return std::make_shared<AttentionData>(problem);
    } catch (const Error& e) {
      LeaveOut(preset, layer + " " + std::string(hw::Name(problem.kv_format)), e.what());
      return nullptr;
    }
  }

  // Why this path is not measured on this problem; empty: it is.
  std::string WhyNot(const AttentionProblem& problem, AttentionForm path) {
    if (IsTiled(path)) return "";
    if (AttentionFlop(problem) * static_cast<double>(problem.layers) > options_.max_standard_flop) {
      beyond_standard_ = true;
      return "more GFLOP than --max-standard";
    }
    const size_t available = hw::ProbeCpu().memory_available_bytes;
    if (path == AttentionForm::kWeights && available != 0 && AttentionWeightBytes(problem) > available / 4)
      return "weights of " + std::to_string(AttentionWeightBytes(problem) >> 20) + " MiB";
    return "";
  }

  Formats KvFormats(const Formats& usual, bool cached) const {
    if (cached && options_.cache_type) return {ToFormat(*options_.cache_type)};
    if (options_.formats.empty()) return usual;
    Formats formats;
    std::ranges::copy_if(options_.formats, std::back_inserter(formats), IsKvFormat);
    return formats;
  }

  void Prefill(const Preset& preset) {
    if (!Wanted("attention.prefill")) return;
    const bool cached = preset.attention.causal && preset.attention.batch == 1;
    const Formats usual = cached ? Formats{hw::Format::kF32, hw::Format::kF16} : Formats{hw::Format::kF32};
    for (const size_t length : OrElse(options_.lengths, {preset.attention.length}))
      Attention(preset, "attention.prefill", {.shape = preset.attention, .q_len = length, .kv_len = length},
                KvFormats(usual, cached));
  }

  void Decode(const Preset& preset) {
    if (!Wanted(kDecode) || !preset.attention.causal) return;
    for (const size_t context : OrElse(options_.contexts, {kDecodeContext}))
      Attention(preset, kDecode, {.shape = preset.attention, .q_len = 1, .kv_len = context},
                KvFormats({hw::Format::kF16, hw::Format::kQ8_0}, /*cached=*/true));
  }

  void Linears(const Preset& preset) {
    const bool text = preset.norm == NormKind::kRms;
    Formats formats = options_.formats;
    if (formats.empty())
      formats = text ? Formats{hw::Format::kF16, hw::Format::kQ8_0, hw::Format::kQ4_K, hw::Format::kQ6_K}
                     : Formats{hw::Format::kF16};
    std::vector<size_t> usual = {preset.attention.batch * preset.attention.length};
    if (text) usual.insert(usual.begin(), 1);
    for (const LinearShape& shape : preset.linear) {
      const std::string layer = std::string("linear.") + shape.name;
      if (!Wanted(layer)) continue;
      for (const size_t n_tokens : OrElse(options_.tokens, usual))
        Products(preset, layer, shape, n_tokens, formats);
    }
  }

  void Products(const Preset& preset, const std::string& layer, const LinearShape& shape, size_t n_tokens,
                const Formats& formats) {
    std::vector<Variant> variants;
    for (const hw::Format format : formats) {
      if (shape.inputs % hw::Info(format).block_elements != 0) {
        LeaveOut(
            preset, layer,
            std::to_string(shape.inputs) + " inputs are no whole blocks of " + std::string(hw::Name(format)));
        continue;
      }
      LinearProblem problem{.shape = shape, .format = format, .n_tokens = n_tokens, .threads = threads_};
      if (options_.exact) problem.precision = Precision::kExact;
      if (n_tokens <= kStreamedTokens && options_.cold)
        problem.copies = Copies(shape.outputs * hw::RowBytes(format, shape.inputs), preset, layer);
      const std::string rest = " --tokens " + std::to_string(n_tokens) + " --dtype " +
                               std::string(hw::Name(format)) + (options_.exact ? " --exact" : "");
      const bool both = !options_.exact && HasInterleavedProducts() &&
                        CanInterleave({nullptr, format, shape.outputs, shape.inputs});
      if (!both || options_.repack != RepackChoice::kOn)
        variants.push_back(
            MakeLinearVariant(problem, NewRow(preset, layer, rest + (both ? " --repack off" : ""))));
      if (!options_.exact && !hw::IsQuantized(format) && n_tokens > MaxDotRows(format, Packing::kInt16) &&
          Contains(PathsFor(format), AttentionForm::kInt16)) {
        problem.precision = Precision::kInt16;
        variants.push_back(MakeLinearVariant(problem, NewRow(preset, layer, rest + " --path int16")));
      }
      if (!both || options_.repack == RepackChoice::kOff) continue;
      problem.interleaved = true;
      variants.push_back(MakeLinearVariant(problem, NewRow(preset, layer, rest + " --repack on")));
    }
    Take(variants);
  }

  void RowWise(const Preset& preset) {
    const size_t length = preset.attention.batch * preset.attention.length;
    for (const size_t n : OrElse(options_.tokens, {length})) {
      std::vector<Variant> variants;
      const std::string rest = " --tokens " + std::to_string(n);
      if (Wanted("rope") && preset.rope != RopeKind::kNone)
        variants.push_back(MakeRopeVariant(preset, n, threads_, NewRow(preset, "rope", rest)));
      if (Wanted("norm"))
        variants.push_back(MakeNormVariant(preset, n, threads_, NewRow(preset, "norm", rest)));
      Take(variants);
    }
  }

  static bool Contains(const std::vector<AttentionForm>& paths, AttentionForm path) {
    return std::ranges::find(paths, path) != paths.end();
  }

  static std::vector<size_t> OrElse(const std::vector<size_t>& asked, const std::vector<size_t>& usual) {
    return asked.empty() ? usual : asked;
  }

  const LayerOptions& options_;
  const MeasureOptions& measure_;
  PeakMeter* peaks_;
  const std::function<void(const Row&)>& sink_;
  size_t threads_;
  bool ran_ = false, beyond_standard_ = false;
};

}  // namespace

size_t ThreadsOrDefault(size_t asked) { return asked ? asked : hw::ProbeCpu().default_threads; }

hw::TilePlan PlanFor(const AttentionProblem& problem, const LayerOptions& options) {
  hw::Machine machine{.cpu = hw::ProbeCpu()};
  machine.free_memory_bytes = machine.cpu.memory_available_bytes;
  const size_t threads = ThreadsOrDefault(options.threads);
  std::vector<hw::TunedPlan> tuned;
  if (options.use_tuning) tuned = FindTuning(machine.cpu, threads, {}).plans;
  hw::TilePlan plan = hw::ChooseTilePlan(machine,
                                         {.q_len = problem.q_len,
                                          .kv_len = problem.kv_len,
                                          .n_heads = problem.shape.n_heads,
                                          .n_kv_heads = problem.shape.n_kv_heads,
                                          .head_dim = problem.shape.head_dim},
                                         {.tile = options.tile, .threads = threads}, tuned);
  const size_t rows = problem.q_len * (problem.shape.n_heads / problem.shape.n_kv_heads);
  if (options.q_rows) plan.q_rows = std::min(options.q_rows, rows);
  return plan;
}

void RunLayers(const LayerOptions& options, const MeasureOptions& measure, PeakMeter* peaks,
               const std::function<void(const Row&)>& sink) {
  std::vector<const Preset*> presets;
  for (const std::string& name : options.presets)
    for (const Preset* preset : FindPresets(name)) presets.push_back(preset);
  LayerRun run(options, measure, peaks, sink);
  for (const Preset* preset : presets) run.Run(*preset);
  if (!run.ran() && run.beyond_standard())
    throw Error(
        ErrorCode::kInvalidArgument,
        "nothing to measure: standard attention of these problems has more GFLOP than --max-standard; "
        "raise it, or give shorter --lengths or --contexts");
  if (!run.ran())
    throw Error(ErrorCode::kInvalidArgument,
                "nothing to measure: no layer of these presets fits --kind and --dtype; kinds are "
                "attention.prefill, attention.decode (causal presets), linear.NAME, rope, norm");
}

}  // namespace qwen3vl::bench
