// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/model_rows.h"

#include <cmath>

#include "qwen3vl/bench/random.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/deviation.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl::bench {
namespace {

bool Contains(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

bool IsVision(const TensorEntry& e) {
  return e.name.starts_with("v.") || e.name.starts_with("mm.") || Contains(e.name, "visual");
}

}  // namespace

std::vector<int32_t> RandomIds(const ModelConfig& config, size_t count, uint64_t seed) {
  const SpecialIds& s = config.ids;
  RandomBits bits(seed);
  std::vector<int32_t> ids;
  while (ids.size() < count) {
    const int32_t id = static_cast<int32_t>(bits() % config.text.vocab_size);
    if (id != s.image_pad && id != s.video_pad && id != s.vision_start && id != s.vision_end)
      ids.push_back(id);
  }
  return ids;
}

Accuracy CheckLogits(const Model& model, const SessionOptions& options,
                     const std::function<void(Session&)>& call) {
  const auto last_logits = [&](SessionOptions o) {
    std::vector<float> last;
    o.trace = [&](const TraceTensor& t) {
      if (t.name != "logits") return;
      const float* row = t.f32 + (t.shape[0] - 1) * t.shape[1];
      last.assign(row, row + t.shape[1]);
    };
    Session session(model, o);
    call(session);
    return last;
  };
  SessionOptions exact = options;
  exact.exact = true;
  exact.cpu_products = CpuProducts::kF32;
  exact.kv_type = KvType::kF32;
  exact.attention = AttentionChoice::kStandard;
  exact.attention_layers.clear();
  exact.gpu_layers = 0;
  exact.gpu_vision = GpuVision::kOff;
  const std::vector<float> found = last_logits(options), wanted = last_logits(exact);
  Deviation deviation;
  for (size_t i = 0; i < wanted.size(); ++i) deviation.Add(found.at(i), wanted[i]);
  return {.max_abs = deviation.max_abs,
          .rel_norm = deviation.rel_norm(),
          .checked = wanted.size(),
          .reference =
              "last logits of a short prompt in float32: exact products, f32 keys and values, "
              "standard attention"};
}

std::string RepackOf(const Model& model) {
  const ModelInfo info = model.info();
  if (info.repackable_bytes == 0) return "";
  return info.repacked_bytes ? " --repack on" : " --repack off";
}

RowSink WithPathOf(const Session& session, const RowSink& sink) {
  return [&](Row row) {
    row.path = session.attention_paths();
    row.tile = session.tile();
    row.plan = session.tile_reason();
    sink(row);
  };
}

GenerateOptions Greedy(size_t tokens) {
  GenerateOptions o;
  o.max_tokens = tokens;
  o.sampling = SamplingOptions{};
  o.ignore_end = true;
  o.draft_tokens = 0;  // how long a step takes is measured, not how many of them an answer needs
  return o;
}

const Reply& Finished(const Reply& reply) {
  if (reply.finish == FinishReason::kCancelled) throw Error(ErrorCode::kCancelled, "interrupted");
  return reply;
}

void MeasureCalls(std::vector<Row> rows, const SampleCall& call, const MeasureOptions& measure,
                  PeakMeter* peaks, const RowSink& sink) {
  Note(measure, rows.front().layer + " " + rows.front().preset + " " + ShapeText(rows.front()));
  PinnedThreads pinned(measure, rows.front().threads);
  for (size_t i = 0; i < measure.warmup; ++i) call(i);
  for (Row& row : rows) {
    row.before = ReadMachineState();
    if (measure.quiet_s > 0) row.busy_samples.emplace();
  }
  PeakSamples peak_samples(peaks);
  QuietWatch watch(measure);
  const auto start = Clock::now();
  size_t counted = 0;  // rounds whose samples count
  double spent_s = 0;
  for (size_t round = 0;; ++round) {
    const bool enough =
        measure.seconds > 0
            ? SecondsSince(start) >= measure.seconds
            : counted >= measure.samples || (counted >= kMinSamples && spent_s >= measure.max_variant_s);
    if (enough && round > 0) break;
    Rest(measure);
    if (!watch.Wait()) break;
    peak_samples.Take();
    const auto begin = Clock::now();
    const std::vector<double> samples = call(measure.warmup + round);
    const double took_s = SecondsSince(begin);
    const bool counts = watch.Quiet();
    counted += counts;
    if (counts) spent_s += took_s;
    for (size_t i = 0; i < rows.size(); ++i)
      if (samples[i] > 0) AddSample(rows[i], samples[i], counts, peak_samples);
    CheckCancelled(measure);
  }
  pinned.Release();
  for (Row& row : rows) {
    if (!HasSamples(row, measure)) continue;
    Complete(row, peak_samples);
    sink(row);
  }
}

double TextFlop(const TextConfig& t, size_t n_tokens, size_t depth, size_t n_logits) {
  const double n = static_cast<double>(n_tokens), dim = static_cast<double>(t.dim);
  const double attention = dim * static_cast<double>(2 * t.q_dim() + 2 * t.kv_dim());
  const double ffn = t.n_experts ? 3 * dim * static_cast<double>(t.n_experts_used * t.expert_ffn_dim) +
                                       dim * static_cast<double>(t.n_experts)
                                 : 3 * dim * static_cast<double>(t.ffn_dim);
  const double pairs = n * static_cast<double>(depth) + n * (n + 1) / 2;
  return static_cast<double>(t.n_layers) *
             (2 * n * (attention + ffn) + 4 * static_cast<double>(t.q_dim()) * pairs) +
         2 * static_cast<double>(n_logits) * dim * static_cast<double>(t.vocab_size);
}

double VisionFlop(const VisionConfig& v, size_t n_tokens) {
  const double merged = static_cast<double>(v.merge_size * v.merge_size), dim = static_cast<double>(v.dim);
  const double tokens = static_cast<double>(n_tokens), patches = merged * tokens;
  const double block =
      2 * patches * dim * (4 * dim + 2 * static_cast<double>(v.ffn_dim)) + 4 * dim * patches * patches;
  const double merger = 2 * tokens * merged * dim * (merged * dim + static_cast<double>(v.out_dim));
  return 2 * patches * dim * static_cast<double>(v.patch_dim()) + static_cast<double>(v.n_layers) * block +
         static_cast<double>(1 + v.deepstack_layers.size()) * merger;
}

double StepWeightBytes(const ModelFiles& files, size_t n_tokens) {
  const TextConfig& t = files.config.text;
  // Experts are as good as random: one is missed by all tokens with this probability.
  const double missed =
      t.n_experts ? std::pow(1 - static_cast<double>(t.n_experts_used) / static_cast<double>(t.n_experts),
                             static_cast<double>(n_tokens))
                  : 0;
  double bytes = 0;
  for (const TensorEntry& e : files.tensors) {
    if (IsVision(e)) continue;
    const bool embedding = Contains(e.name, "token_embd") || Contains(e.name, "embed_tokens");
    if (embedding && !t.tied_embeddings) continue;
    const bool expert = Contains(e.name, "exps") || Contains(e.name, ".experts");
    bytes += (expert ? 1 - missed : 1) * static_cast<double>(e.bytes);
  }
  return bytes;
}

double VisionWeightBytes(const ModelFiles& files) {
  double bytes = 0;
  for (const TensorEntry& e : files.tensors)
    if (IsVision(e)) bytes += static_cast<double>(e.bytes);
  return bytes;
}

double PromptBytes(const ModelFiles& files, const SessionOptions& options, size_t n_tokens, size_t depth) {
  const size_t chunk = options.prefill_chunk, whole = n_tokens / chunk, rest = n_tokens % chunk;
  return static_cast<double>(whole) * StepWeightBytes(files, chunk) +
         (rest ? StepWeightBytes(files, rest) : 0) +
         KvBytes(files.config.text, options.kv_type, depth + n_tokens);
}

double KvBytes(const TextConfig& t, KvType type, size_t n_keys) {
  return 2.0 * static_cast<double>(t.n_layers * n_keys * hw::RowBytes(ToFormat(type), t.kv_dim()));
}

}  // namespace qwen3vl::bench
