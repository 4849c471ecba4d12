// SPDX-License-Identifier: Apache-2.0
// The public Session: conversations in, replies out, on top of one Generator.
#include <algorithm>

#include "qwen3vl/generation.h"
#include "qwen3vl/memory_need.h"

namespace qwen3vl {

struct Session::Impl {
  Generator generator;
  hw::TilePlan plan;  // for the text layers at full context
};

namespace {

// Refuses what cannot fit before anything is allocated, and says which option would make it fit.
void CheckMemory(const Model::Impl& model, const SessionOptions& options) {
  if (options.ignore_memory) return;
  const MemoryNeed need = EstimateMemory(model.files.config, 0, options, {});
  const size_t available = hw::ProbeCpu().memory_available_bytes;
  if (available == 0 || need.kv_cache + need.text_stage <= available) return;
  const auto mib = [](size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; };
  throw Error(ErrorCode::kOutOfMemory,
              "context of " + std::to_string(ContextOf(model.files.config, options)) + " tokens needs " +
                  mib(need.kv_cache) + " for keys and values and " + mib(need.text_stage) +
                  " for a chunk, but " + mib(available) +
                  " are free; lower --ctx, or use --kv-type q8_0 (--force starts anyway)");
}

const Model::Impl& Checked(const Model& model, const SessionOptions& options) {
  CheckMemory(*model.impl(), options);
  return *model.impl();
}

template <class Medium>
PicturePlan PlanOf(const Medium& medium, const PromptContext& context) {
  // A pointer that owns nothing: the visual lives only as long as this call.
  const Visual visual = MakeVisual(std::shared_ptr<const Medium>(std::shared_ptr<void>(), &medium), context);
  const VisionConfig& v = *context.config->vision;
  const rope::Grid& g = visual.grid;
  return {g.w * v.patch_size, g.h * v.patch_size, g.t * g.h * g.w / (v.merge_size * v.merge_size)};
}

}  // namespace

Session::Session(const Model& model, const SessionOptions& options)
    : impl_((Checked(model, options), new Impl{Generator(model.impl(), options), {}})) {
  const TextConfig& t = model.impl()->files.config.text;
  impl_->plan = impl_->generator.runtime().Plan({.q_len = options.prefill_chunk,
                                                 .kv_len = context(),
                                                 .n_heads = t.n_heads,
                                                 .n_kv_heads = t.n_kv_heads,
                                                 .head_dim = t.head_dim});
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Reply Session::Chat(const std::vector<Message>& messages, const GenerateOptions& options) {
  Generator& g = impl_->generator;
  const Generator::Call call(g);
  return g.Run(MakePrompt(messages, options, g.prompt_context()), options);
}

Reply Session::Complete(std::span<const int32_t> ids, std::span<const Picture> pictures,
                        std::span<const Clip> clips, const GenerateOptions& options) {
  Generator& g = impl_->generator;
  const Generator::Call call(g);
  std::vector<Visual> visuals;
  for (const Picture& p : pictures)
    visuals.push_back(MakeVisual(std::make_shared<const Picture>(p), g.prompt_context()));
  for (const Clip& c : clips)
    visuals.push_back(MakeVisual(std::make_shared<const Clip>(c), g.prompt_context()));
  return g.Run(MakePrompt(ids, std::move(visuals), g.prompt_context()), options);
}

void Session::Reset() {
  const Generator::Call call(impl_->generator);
  impl_->generator.Reset();
}

void Session::Cancel() { impl_->generator.runtime().cancel.store(true, std::memory_order_relaxed); }
size_t Session::context() const { return impl_->generator.cache().shape().capacity; }
size_t Session::length() const { return impl_->generator.cache().length(); }
size_t Session::threads() const { return impl_->generator.runtime().threads.count; }
size_t Session::tile() const {
  return attention_paths().empty() ? impl_->plan.tile : impl_->generator.runtime().TileUsed().first;
}
std::string Session::tile_reason() const {
  return attention_paths().empty() ? impl_->plan.reason : impl_->generator.runtime().TileUsed().second;
}
std::string Session::attention_paths() const { return impl_->generator.runtime().PathsUsed(); }
std::string Session::gpu_report() const { return impl_->generator.gpu_report(); }
std::vector<LayerDeviation> Session::deviations() const { return impl_->generator.runtime().Deviations(); }
std::vector<ProfileRow> Session::profile() const { return impl_->generator.runtime().profiler.Rows(); }

PicturePlan Session::Plan(const Picture& picture) const {
  return PlanOf(picture, impl_->generator.prompt_context());
}
size_t Session::fitted_image_tokens() const { return impl_->generator.fitted_tokens().picture; }
size_t Session::fitted_video_tokens() const { return impl_->generator.fitted_tokens().clip; }
PicturePlan Session::Plan(const Clip& clip) const { return PlanOf(clip, impl_->generator.prompt_context()); }

}  // namespace qwen3vl
