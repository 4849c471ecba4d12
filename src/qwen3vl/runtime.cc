// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/runtime.h"

#include <algorithm>

#include "qwen3vl/deviation.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl {
namespace {

attention::PathRequest ToRequest(AttentionChoice choice) {
  switch (choice) {
    case AttentionChoice::kCuda:
      return attention::PathRequest::kCuda;
    case AttentionChoice::kTiled:
      return attention::PathRequest::kTiled;
    case AttentionChoice::kStandard:
      return attention::PathRequest::kStandard;
    case AttentionChoice::kAuto:
      break;
  }
  return attention::PathRequest::kAuto;
}

std::string Describe(const attention::Inputs& in) {
  const attention::Shape& s = in.shape;
  const std::string format(hw::Name(in.cache ? in.cache->format : in.k.format));
  return "q " + std::to_string(s.q_len) + " x " + std::to_string(s.n_heads) + " x " +
         std::to_string(s.head_dim) + ", kv heads " + std::to_string(s.n_kv_heads) + " " + format;
}

Precision PrecisionOf(const SessionOptions& options) {
  if (options.exact && options.cpu_products == CpuProducts::kInt16)
    throw Error(ErrorCode::kInvalidArgument,
                "exact products and products in int16 (--exact, --cpu-products): want one of them");
  if (options.exact) return Precision::kExact;
  if (options.cpu_products == CpuProducts::kInt16) return Precision::kInt16;
  return RoundsProducts(options) ? Precision::kAuto : Precision::kFast;
}

}  // namespace

void Profiler::Add(const std::string& part, const std::string& block, const std::string& shape,
                   double seconds) {
  Cell& cell = cells_[{stage, block, part, shape}];
  ++cell.calls;
  cell.seconds += seconds;
}

std::vector<ProfileRow> Profiler::Rows() const {
  std::vector<ProfileRow> rows;
  for (const auto& [key, cell] : cells_)
    rows.push_back({key[0], key[2], key[1], cell.calls, cell.seconds, key[3]});
  return rows;
}

Runtime::Runtime(const SessionOptions& options)
    : precision(PrecisionOf(options)),
      request(ToRequest(options.attention)),
      cpu_products(RoundsProducts(options) ? ToProducts(options.cpu_products) : attention::CpuProducts::kF32),
      gpu_scores(options.gpu_scores == GpuScores::kInt8 ? attention::GpuScores::kInt8
                                                        : attention::GpuScores::kF32),
      tile_request{.tile = options.tile},
      check_finite(options.check_finite),
      trace(options.trace),
      log(options.log),
      verify(options.verify) {
  if (options.threads > kMaxThreads)
    throw Error(ErrorCode::kInvalidArgument,
                "threads: " + std::to_string(options.threads) + ", want 0 to " + std::to_string(kMaxThreads));
  machine.cpu = hw::ProbeCpu();
  machine.free_memory_bytes = machine.cpu.memory_available_bytes;
  threads.count = options.threads ? options.threads : machine.cpu.default_threads;
  if (options.use_tuning) tuned = FindTuning(machine.cpu, threads.count, log).plans;
  tile_request.threads = threads.count;
  threads.cancel = &cancel;
  for (const auto& [layer, choice] : options.attention_layers) layer_requests[layer] = ToRequest(choice);
  profiler.enabled = options.profile;
}

hw::TilePlan Runtime::Plan(const hw::AttentionProblem& problem) const {
  return hw::ChooseTilePlan(machine, problem, tile_request, tuned);
}

bool Runtime::AsksForGpu() const {
  constexpr auto kCuda = attention::PathRequest::kCuda;
  return request == kCuda ||
         std::ranges::any_of(layer_requests, [](const auto& own) { return own.second == kCuda; });
}

void Runtime::Attend(const AttentionCall& call) {
  const attention::Shape& s = call.inputs.shape;
  attention::Options options;
  options.request = call.request;
  options.cpu_products = cpu_products;
  if (call.weights_format != hw::Format::kF32 && cpu_products == attention::CpuProducts::kAuto)
    options.cpu_products = attention::CpuProducts::kInt16;
  options.gpu_scores = gpu_scores;
  options.each_alone = call.each_alone;
  options.plan = Plan({.q_len = call.each_alone ? 1 : s.q_len,
                       .kv_len = s.kv_len,
                       .n_heads = s.n_heads,
                       .n_kv_heads = s.n_kv_heads,
                       .head_dim = s.head_dim});
  if (options.request == attention::PathRequest::kAuto) {
    const size_t below = options.plan.standard_below;
    if (call.each_alone && s.kv_len >= below && s.kv_len - s.q_len + 1 < below) return AttendOneByOne(call);
    if (s.kv_len < below) options.request = attention::PathRequest::kStandard;
  }
  options.cancel = &cancel;
  options.check_finite = check_finite;
  attention::Outputs out;
  out.out = call.out;
  out.weights = call.weights;

  const auto start = std::chrono::steady_clock::now();
  const attention::AttentionReport report = attention::Attend(call.inputs, out, options, workspace_);
  if (profiler.enabled)
    profiler.Add("attention", call.block, Describe(call.inputs),
                 std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  CheckCancelled();

  const char* scores = report.scores == attention::GpuScores::kInt8 ? ", int8 scores" : "";
  NotePath({.path = std::string(attention::Name(report.used)) + scores,
            .from = "attention",
            .why = report.cause == attention::FallbackCause::kNone ? std::string() : report.sentence,
            .tile = report.tile,
            .tile_reason = report.tile_reason,
            .int16 = report.products == attention::CpuProducts::kInt16});
  if (verify) Verify(call, options, report.used);
}

void Runtime::AttendOneByOne(const AttentionCall& call) {
  const attention::Shape& s = call.inputs.shape;
  for (size_t token = 0; token < s.q_len; ++token) {
    AttentionCall one = call;
    one.each_alone = false;
    one.inputs.shape.q_len = 1;
    one.inputs.shape.kv_len = s.kv_len - s.q_len + token + 1;
    one.inputs.q.data = static_cast<const float*>(call.inputs.q.data) + token * call.inputs.q.row_stride;
    one.out = call.out + token * s.n_heads * s.head_dim;
    Attend(one);
  }
}

void Runtime::NotePath(const PathNote& note) {
  PathUse& use = paths_[note.path];
  use.int16 |= note.int16;
  if (note.tile > use.tile) {
    use.tile = note.tile;
    use.tile_reason = note.tile_reason;
  }
  if (note.why.empty()) return;
  std::string cause = note.why;
  std::erase_if(cause, [](char c) { return c >= '0' && c <= '9'; });
  if (use.causes.emplace(std::pair(note.from, cause), note.why).second && log)
    log(LogLevel::kWarning, note.from + ": " + note.why);
}

void Runtime::Verify(const AttentionCall& call, const attention::Options& options, attention::Path used) {
  const attention::Shape& s = call.inputs.shape;
  const size_t n = s.q_len * s.n_heads * s.head_dim;
  hw::AlignedBuffer<float> expected(n);
  attention::Options standard = options;
  standard.request = attention::PathRequest::kStandard;
  attention::Outputs out;
  out.out = expected.data();
  attention::Attend(call.inputs, out, standard, workspace_);
  CheckCancelled();

  LayerDeviation& d = deviations_[call.block];
  d.layer = call.block;
  // Standard only where nothing else ran.
  if (d.path.empty() || used != attention::Path::kStandard) d.path = attention::Name(used);
  ++d.calls;
  Deviation deviation;
  for (size_t i = 0; i < n; ++i) deviation.Add(call.out[i], expected[i]);
  d.max_abs = WorstOf(deviation.max_abs, d.max_abs);
  d.rel_norm = WorstOf(deviation.rel_norm(), d.rel_norm);
}

void Runtime::Trace(std::string_view name, std::initializer_list<size_t> shape, const float* data) const {
  if (trace) trace({.name = name, .shape = {shape.begin(), shape.size()}, .f32 = data});
}

void Runtime::Trace(std::string_view name, std::initializer_list<size_t> shape, const int32_t* data) const {
  if (trace) trace({.name = name, .shape = {shape.begin(), shape.size()}, .i32 = data});
}

std::vector<LayerDeviation> Runtime::Deviations() const {
  std::vector<LayerDeviation> out;
  for (const auto& [name, deviation] : deviations_) out.push_back(deviation);
  return out;
}

std::string Runtime::PathsUsed() const {
  std::string out;
  for (const auto& [path, use] : paths_) {
    out += (out.empty() ? "" : ", ") + path + (use.int16 ? " (int16 products of many rows)" : "");
    for (const auto& [cause, why] : use.causes) out += " (" + why + ")";
  }
  return out;
}

std::pair<size_t, std::string> Runtime::TileUsed() const {
  std::pair<size_t, std::string> first{0, "standard attention takes all keys at once"};
  std::string all;
  for (const auto& [path, use] : paths_) {
    if (use.tile == 0) continue;
    all += (all.empty() ? "" : "; ") + path + " " + std::to_string(use.tile) + ": " + use.tile_reason;
    if (first.first == 0) {
      first = {use.tile, use.tile_reason};
    } else {
      first.second = all;
    }
  }
  return first;
}

}  // namespace qwen3vl
