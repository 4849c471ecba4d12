// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/generation.h"

#include <algorithm>
#include <chrono>

#include "qwen3vl/kv_type.h"
#include "qwen3vl/memory_need.h"
#include "qwen3vl/sampler.h"
#include "qwen3vl/stop_text.h"

namespace qwen3vl {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

attention::KvCacheShape CacheShape(const ModelConfig& config, const SessionOptions& options) {
  const TextConfig& t = config.text;
  return {.n_layers = t.n_layers,
          .n_kv_heads = t.n_kv_heads,
          .head_dim = t.head_dim,
          .capacity = ContextOf(config, options),
          .format = ToFormat(options.kv_type)};
}

// Decided here once, for everything that is computed or measured with these options.
SessionOptions WithThreads(const ModelConfig& config, SessionOptions o) {
  if (o.threads == 0 && o.use_tuning) o.threads = TunedThreads(hw::ProbeCpu(), HeadShapesOf(config));
  return o;
}

void CheckOptions(const ModelConfig& config, const SessionOptions& o) {
  if (o.prefill_chunk == 0)
    throw Error(ErrorCode::kInvalidArgument, "prefill chunk: 0 tokens, want at least 1");
  for (const auto& [layer, choice] : o.attention_layers)
    if (layer >= config.text.n_layers)
      throw Error(ErrorCode::kInvalidArgument, "attention of layer " + std::to_string(layer) +
                                                   ": the model has layers 0 to " +
                                                   std::to_string(config.text.n_layers - 1));
}

int32_t Chosen(const GenerateOptions& options, std::span<const float> logits) {
  const int32_t id = options.choose(logits);
  if (id < 0 || static_cast<size_t>(id) >= logits.size())
    throw Error(ErrorCode::kInvalidArgument,
                "choose: token " + std::to_string(id) + ", want 0 to " + std::to_string(logits.size() - 1));
  return id;
}

}  // namespace

Generator::Generator(std::shared_ptr<const Model::Impl> model, const SessionOptions& options)
    : model_((CheckOptions(model->files.config, options), std::move(model))),
      options_(WithThreads(model_->files.config, options)),
      fitted_(FitTokens(model_->files.config, options)),
      prompt_context_{.config = &model_->files.config,
                      .tokenizer = model_->tokenizer ? &*model_->tokenizer : nullptr,
                      .chat_template = model_->chat_template,
                      .preprocess = PreprocessOf(model_->files.config, options)},
      runtime_(options_),
      cache_(CacheShape(model_->files.config, options)),
      text_(model_->files.config.text, model_->files.text) {
  const std::optional<VisionConfig>& vision = model_->files.config.vision;
  GpuRequest request{.config = &model_->files.config.text,
                     .weights = &model_->files.text,
                     .kv = cache_.shape(),
                     .options = &options_};
  if (vision) {
    vision_ = std::make_unique<VisionModel>(*vision, model_->files.vision);
    request.vision = &*vision;
    request.vision_weights = &model_->files.vision;
    request.max_patches = MaxPatches(model_->files.config, options_);
  }
  GpuChoice gpu = ChooseGpu(request);
  text_.UseGpu(std::move(gpu.layers));
  if (vision_) vision_->UseGpu(std::move(gpu.tower));
  gpu_report_ = std::move(gpu.report);
}

Generator::Call::Call(Generator& generator) : generator_(generator) {
  if (generator.in_call_.exchange(true))
    throw Error(ErrorCode::kInvalidArgument,
                "session: a call while another one runs, want one at a time and none from a callback");
  generator.runtime_.cancel = false;
}

void Generator::Reset() {
  cache_.Truncate(0);
  sequence_ = {};
  features_.clear();
}

bool Generator::Report(Phase phase, size_t done, size_t total) {
  if (options_.progress && !options_.progress({phase, done, total})) runtime_.cancel = true;
  return !runtime_.cancel;
}

Reply Generator::Run(Prompt prompt, const GenerateOptions& options) {
  const Clock::time_point start = Clock::now();
  if (options.sampling) CheckSampling(*options.sampling);
  if (options.draft_tokens >= kMaxEachAlone)
    throw Error(ErrorCode::kInvalidArgument, "draft tokens: " + std::to_string(options.draft_tokens) +
                                                 ", want 0 to " + std::to_string(kMaxEachAlone - 1));
  if (prompt.ids.size() > cache_.shape().capacity)
    throw Error(ErrorCode::kInvalidArgument,
                "prompt: " + std::to_string(prompt.ids.size()) + " tokens, but the context holds " +
                    std::to_string(cache_.shape().capacity) + "; raise it to " +
                    std::to_string(prompt.ids.size()) + " and room for the answer (--ctx)" +
                    (prompt.visuals.empty()
                         ? ""
                         : ", or scale pictures and clips down (--max-image-tokens, --max-video-tokens)"));
  Reply reply;
  reply.prompt_tokens = prompt.ids.size();
  // The last token is computed again in any case: its logits are wanted. A trace wants every row of the
  // prompt.
  const size_t shared = options_.trace ? 0 : std::min(SharedPrefix(prompt, sequence_), cache_.length());
  const size_t chunk = options_.prefill_chunk;
  reply.reused_tokens = std::min(shared, prompt.ids.size() - 1);
  if (options.reproducible)
    reply.reused_tokens = std::min(reply.reused_tokens, in_whole_chunks_) / chunk * chunk;
  const bool whole_chunks = reply.reused_tokens <= in_whole_chunks_ && reply.reused_tokens % chunk == 0;
  in_whole_chunks_ = whole_chunks ? prompt.ids.size() : std::min(in_whole_chunks_, reply.reused_tokens);
  reply.image_tokens = static_cast<size_t>(std::ranges::count_if(
      prompt.sources, [](const Prompt::Source& s) { return s.visual != Prompt::kText; }));

  // Pictures encoded for the last prompt serve again, wherever they stand in this one.
  std::vector<Features> features(prompt.visuals.size());
  for (size_t i = 0; i < prompt.visuals.size(); ++i)
    for (size_t j = 0; j < features_.size(); ++j)
      if (features_[j].rows && prompt.visuals[i].SameContent(sequence_.visuals[j]))
        features[i] = features_[j];
  features_ = std::move(features);
  cache_.Truncate(reply.reused_tokens);
  cache_.Expect(prompt.ids.size());
  sequence_ = std::move(prompt);
  TraceInputs(sequence_);

  try {
    EncodeVisuals(sequence_, reply.reused_tokens, reply);
    runtime_.profiler.stage = "prefill";
    const Clock::time_point prefill = Clock::now();
    const std::span<const float> logits = Prefill(sequence_, reply.reused_tokens);
    reply.prefill_s = SecondsSince(prefill);
    reply.first_token_s = SecondsSince(start);
    runtime_.profiler.stage = "decode";
    const Clock::time_point decode = Clock::now();
    Decode(logits, options, reply);
    reply.decode_s = SecondsSince(decode);
  } catch (const CancelledSignal&) {
    reply.finish = FinishReason::kCancelled;
  } catch (...) {
    sequence_.ids.resize(std::min(sequence_.ids.size(), cache_.length()));
    throw;
  }
  sequence_.ids.resize(std::min(sequence_.ids.size(), cache_.length()));
  return reply;
}

void Generator::EncodeVisuals(const Prompt& prompt, size_t from_token, Reply& reply) {
  std::vector<size_t> pictures, clips;
  std::vector<bool> wanted(prompt.visuals.size(), options_.trace != nullptr);
  for (size_t i = from_token; i < prompt.sources.size(); ++i)
    if (prompt.sources[i].visual != Prompt::kText) wanted[prompt.sources[i].visual] = true;
  for (size_t i = 0; i < prompt.visuals.size(); ++i)
    if (wanted[i] && (options_.trace || !features_[i].rows))
      (prompt.visuals[i].is_clip() ? clips : pictures).push_back(i);

  if (options_.trace) {  // a trace shows one pass over all pictures, one over all clips
    const bool both = !pictures.empty() && !clips.empty();
    if (!pictures.empty()) EncodeTogether(prompt, pictures, both ? "vision_image" : "vision", reply);
    if (!clips.empty()) EncodeTogether(prompt, clips, both ? "vision_video" : "vision", reply);
    return;
  }
  for (const std::vector<size_t>* kind : {&pictures, &clips})
    for (size_t i : *kind) EncodeTogether(prompt, {&i, 1}, "vision", reply);
}

void Generator::EncodeTogether(const Prompt& prompt, std::span<const size_t> which, const std::string& prefix,
                               Reply& reply) {
  const VisionConfig& config = *model_->files.config.vision;
  Clock::time_point start = Clock::now();
  runtime_.profiler.stage = "preprocess";
  std::vector<rope::Grid> grids;
  std::vector<Patches> parts;
  size_t n_values = 0;
  runtime_.Timed("resize+patches", "", [&] {
    for (size_t i : which) {
      parts.push_back(MakePatches(prompt.visuals[i], prompt_context_, runtime_.threads));
      grids.push_back(parts.back().grid);
      n_values += parts.back().values.size();
    }
  });
  hw::AlignedBuffer<float> joined;
  if (parts.size() > 1) {
    joined = hw::AlignedBuffer<float>(n_values);
    float* to = joined.data();
    for (const Patches& p : parts) to = std::copy_n(p.values.data(), p.values.size(), to);
    parts.resize(1);
  }
  const std::span<const float> patches = joined.size() ? joined.span() : parts.front().values.span();
  reply.preprocess_s += SecondsSince(start);
  const bool clips = prompt.visuals[which.front()].is_clip();
  runtime_.Trace(clips ? "pixel_values_videos" : "pixel_values",
                 {n_values / config.patch_dim(), config.patch_dim()}, patches.data());

  start = Clock::now();
  runtime_.profiler.stage = "encode";
  Report(Phase::kEncode, 0, config.n_layers);
  const auto features = std::make_shared<const VisualFeatures>(vision_->Encode(
      patches, grids, prefix, [&](size_t done) { Report(Phase::kEncode, done, config.n_layers); }, runtime_));
  size_t row = 0;
  for (size_t k = 0; k < which.size(); ++k) {
    features_[which[k]] = {features, row};
    row += grids[k].t * grids[k].h * grids[k].w / (config.merge_size * config.merge_size);
  }
  reply.encode_s += SecondsSince(start);
}

std::span<const float> Generator::Forward(const TextChunk& chunk, LogitsOf logits) {
  const size_t before = cache_.length();
  try {
    return text_.Forward(chunk, cache_, logits, runtime_);
  } catch (...) {
    cache_.Truncate(before);
    throw;
  }
}

std::span<const float> Generator::Prefill(const Prompt& prompt, size_t from_token) {
  const size_t n = prompt.ids.size();
  const size_t vocab_size = model_->files.config.text.vocab_size;
  const bool pictures = !prompt.visuals.empty();
  const size_t n_deepstack = pictures ? model_->files.config.vision->deepstack_layers.size() : 0;
  std::span<const float> logits;
  Report(Phase::kPrefill, from_token, n);
  for (size_t begin = from_token; begin < n;) {
    runtime_.CheckCancelled();
    const size_t count = std::min(options_.prefill_chunk, n - begin);
    std::vector<VisualRow> visual;
    for (size_t i = 0; i < count; ++i) {
      const Prompt::Source& s = prompt.sources[begin + i];
      if (s.visual == Prompt::kText) continue;
      const Features& f = features_[s.visual];
      visual.push_back({i, f.rows.get(), f.first_row + s.row});
    }
    const TextChunk chunk{.ids = std::span(prompt.ids).subspan(begin, count),
                          .positions = std::span(prompt.positions).subspan(begin, count),
                          .visual = visual,
                          .n_deepstack = n_deepstack};
    begin += count;
    logits = Forward(chunk, options_.trace ? LogitsOf::kAllTokens
                            : begin == n   ? LogitsOf::kLastToken
                                           : LogitsOf::kNone);
    Report(Phase::kPrefill, begin, n);
  }
  return logits.last(vocab_size);
}

std::span<const float> Generator::Step(std::span<const int32_t> ids) {
  std::vector<rope::Position> positions;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t at = static_cast<int32_t>(sequence_.next_position + i);
    positions.push_back({at, at, at});
  }
  const Clock::time_point start = Clock::now();
  const TextChunk chunk{.ids = ids, .positions = positions, .visual = {}, .each_alone = ids.size() > 1};
  const std::span<const float> logits = Forward(chunk, LogitsOf::kAllTokens);
  draft_.Timed(ids.size(), SecondsSince(start));
  sequence_.ids.insert(sequence_.ids.end(), ids.begin(), ids.end());
  sequence_.positions.insert(sequence_.positions.end(), positions.begin(), positions.end());
  sequence_.sources.resize(sequence_.sources.size() + ids.size(), {Prompt::kText, 0});
  sequence_.next_position += ids.size();
  return logits;
}

void Generator::Drop(size_t n) {
  n = std::min(n, cache_.length());
  cache_.Truncate(cache_.length() - n);
  sequence_.ids.resize(sequence_.ids.size() - n);
  sequence_.positions.resize(sequence_.positions.size() - n);
  sequence_.sources.resize(sequence_.sources.size() - n);
  sequence_.next_position -= n;
}

std::span<const int32_t> Generator::Guess(int32_t id, const GenerateOptions& options, const Reply& reply) {
  // A check that may recompute a call would do so for all of its tokens.
  const bool possible = !runtime_.AsksForGpu() && !options_.check_finite;
  const size_t most =
      std::min({possible ? options.draft_tokens : 0, kMaxEachAlone - 1,
                options.max_tokens - reply.ids.size() - 1, cache_.shape().capacity - cache_.length() - 1});
  sequence_.ids.push_back(id);
  std::span<const int32_t> guess = draft_.Guess(sequence_.ids, most);
  sequence_.ids.pop_back();
  if (options.ignore_end) return guess;
  // Nothing is wanted after an end token.
  const std::vector<int32_t>& ends = model_->files.config.sampling.stop_ids;
  return guess.first(static_cast<size_t>(std::ranges::find_first_of(guess, ends) - guess.begin()));
}

void Generator::Decode(std::span<const float> logits, const GenerateOptions& options, Reply& reply) {
  // The trace of the prompt ends here; of the answer it gets tokens and logits only.
  const TraceFn trace = std::exchange(runtime_.trace, nullptr);
  // The tokens of the last step: the newest one of the answer and guesses after it, of which the first
  // `came_true` turned out to be the answer's next ones. Others leave the cache in any case.
  struct Steps {
    Generator& generator;
    const TraceFn& trace;
    std::vector<int32_t> ids;
    size_t came_true = 0;

    void DropOthers() {
      if (!ids.empty()) generator.Drop(ids.size() - 1 - came_true);
      ids.clear();
      came_true = 0;
    }
    // The same step without its guesses, those that came true one by one: the logits after them.
    std::span<const float> Again() {
      generator.Drop(ids.size());
      ids.resize(came_true + 1);
      std::span<const float> logits;
      for (const int32_t id : std::exchange(ids, {})) logits = generator.Step({&id, 1});
      came_true = 0;
      return logits;
    }
    ~Steps() {
      DropOthers();
      generator.runtime_.trace = trace;
    }
  } last{*this, trace};

  const size_t vocab_size = model_->files.config.text.vocab_size;
  const std::vector<int32_t>& ends = model_->files.config.sampling.stop_ids;
  Sampler sampler(options.sampling ? *options.sampling : ToSamplingOptions(model_->files.config.sampling),
                  sequence_.ids);
  StreamDecoder decoder;
  StopText stop(options.stop);
  bool listening = options.on_text != nullptr;
  const auto show = [&](const std::string& text) {
    reply.text += text;
    if (text.empty() || !listening || options.on_text(text)) return;
    listening = false;
    runtime_.cancel = true;
  };
  reply.finish = FinishReason::kLength;
  try {
    while (reply.ids.size() < options.max_tokens) {
      runtime_.CheckCancelled();
      std::span<const float> row = logits.subspan(last.came_true * vocab_size, vocab_size);
      bool are_numbers = AreNumbers(row);
      if (!are_numbers && last.ids.size() > 1) {
        // What overflows in a guess reaches the rows beside it, 0 * inf, and may have no part in the answer.
        if (options_.log)
          options_.log(LogLevel::kWarning,
                       "answer: not finite beside draft tokens; trying again without them");
        row = logits = last.Again();
        are_numbers = AreNumbers(row);
      }
      if (!are_numbers) {
        if (options_.verify) break;  // the deviations, which are wanted, tell it
        last.ids.clear();
        Reset();  // keys and values of the cache may be no numbers either
      }
      const int32_t id = options.choose && are_numbers ? Chosen(options, row) : sampler.Next(row);
      if (!reply.ids.empty()) draft_.Learn(id);
      const size_t shape[] = {1, row.size()};
      if (trace) trace({.name = "greedy_step_logits", .shape = shape, .f32 = row.data()});
      if (!options.ignore_end && std::ranges::find(ends, id) != ends.end()) {
        reply.finish = FinishReason::kStop;
        break;
      }
      reply.ids.push_back(id);
      if (model_->tokenizer && !model_->tokenizer->IsSpecial(id))
        show(stop.Push(decoder.Push(model_->tokenizer->TokenBytes(id))));
      Report(Phase::kDecode, reply.ids.size(), options.max_tokens);
      if (stop.stopped()) {
        reply.finish = FinishReason::kStop;
        break;
      }
      if (reply.ids.size() == options.max_tokens) break;
      if (last.came_true + 1 < last.ids.size() && last.ids[last.came_true + 1] == id) {
        ++last.came_true;
        ++reply.accepted_tokens;
        continue;
      }
      last.DropOthers();
      if (cache_.length() == cache_.shape().capacity) {
        reply.finish = FinishReason::kContextFull;
        break;
      }
      std::vector<int32_t> ids{id};
      const std::span<const int32_t> guess = Guess(id, options, reply);
      ids.insert(ids.end(), guess.begin(), guess.end());
      logits = Step(ids);
      reply.drafted_tokens += guess.size();
      last.ids = std::move(ids);
    }
  } catch (const CancelledSignal&) {
    reply.finish = FinishReason::kCancelled;
  }
  show(stop.Push(decoder.Finish()));
  show(stop.Finish());
}

void Generator::TraceInputs(const Prompt& prompt) const {
  if (!options_.trace) return;
  const size_t n = prompt.ids.size();
  runtime_.Trace("input_ids", {n}, prompt.ids.data());
  std::vector<int32_t> rows(3 * n);
  for (size_t i = 0; i < n; ++i)
    rows[i] = prompt.positions[i].t, rows[n + i] = prompt.positions[i].h,
    rows[2 * n + i] = prompt.positions[i].w;
  runtime_.Trace("position_ids", {3, n}, rows.data());
  for (const bool clips : {false, true}) {
    std::vector<int32_t> grids;
    for (const Visual& v : prompt.visuals)
      if (v.is_clip() == clips)
        grids.insert(grids.end(), {static_cast<int32_t>(v.grid.t), static_cast<int32_t>(v.grid.h),
                                   static_cast<int32_t>(v.grid.w)});
    if (!grids.empty())
      runtime_.Trace(clips ? "video_grid_thw" : "image_grid_thw", {grids.size() / 3, 3}, grids.data());
  }
}

}  // namespace qwen3vl
