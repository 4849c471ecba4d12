// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

std::string DescribeModel(const ModelInfo& m) {
  return m.name + ": " + std::to_string(m.n_layers) + " layers, " + std::to_string(m.n_heads) + "/" +
         std::to_string(m.n_kv_heads) + " heads of " + std::to_string(m.head_dim) +
         (m.n_experts ? ", " + std::to_string(m.n_experts) + " experts" : "") + ", " +
         (m.vision_layers ? std::to_string(m.vision_layers) + " vision layers" : "text only");
}

std::string DescribeNeed(const MemoryNeed& need) {
  return FormatBytes(need.total()) + " needed (weights " + FormatBytes(need.weights) + ", keys and values " +
         FormatBytes(need.kv_cache) + ", pictures " + FormatBytes(need.image_stage) + ", text " +
         FormatBytes(need.text_stage) + ")";
}

// ", and 1.2 GiB on the GPU": what the layers asked for take there.
std::string DescribeGpuNeed(const MemoryNeed& need, const SessionOptions& session) {
  if (need.gpu == 0) return "";
  return std::string(", and ") + (session.gpu_layers == kAutoGpuLayers ? "up to " : "") +
         FormatBytes(need.gpu) + " on a GPU";
}

// What the files say, whatever the options.
ModelInfo LookAtFiles(const CommonOptions& options, const std::vector<Medium>& media) {
  const ModelInfo info = ReadingFiles(
      [&] { return InspectModel(options.model, {.mmproj = options.mmproj, .session = {}}).info; });
  if (!media.empty() && info.vision_layers == 0)
    throw Failure(kBadFile, options.model + ": a text-only model cannot take '" + media.front().name +
                                "'; for a GGUF file name its vision file with --mmproj");
  return info;
}

// Whether a run fits, before anything is loaded. Returns the bytes that it leaves free.
size_t CheckMemory(const CommonOptions& options, const ModelInfo& info, const std::vector<Medium>& media,
                   Console& console) {
  constexpr size_t kUsualSide = 1024;  // of pictures that come later
  const size_t held = DecodedBytes(media);
  std::vector<MediumSize> sizes = LargestMedia(media);
  if (sizes.empty()) {
    const size_t side = options.session.pictures_to_fit ? kUsualSide : 0;
    sizes.push_back({side, side});
  }
  const auto estimate = [&](const SessionOptions& session) {
    MemoryNeed most;
    for (const MediumSize& s : sizes) {
      MemoryNeed need = InspectModel(options.model, {.mmproj = options.mmproj,
                                                     .session = session,
                                                     .image_width = s.width,
                                                     .image_height = s.height,
                                                     .image_frames = s.frames})
                            .memory;
      need.image_stage += held - std::min(held, s.Bytes());  // that much of them is counted already
      if (need.total() >= most.total()) most = need;
    }
    return most;
  };
  const MemoryNeed need = TakingOptions([&] { return estimate(options.session); });
  const size_t free_bytes = ProbeMachine().memory_available_bytes;
  const size_t available = free_bytes ? free_bytes + held : 0;  // before the pictures were decoded
  console.Note("model: " + DescribeModel(info));
  console.Note("memory: " + DescribeNeed(need) + ", " + FormatBytes(available) + " free" +
               DescribeGpuNeed(need, options.session));
  if (need.total() <= available) return available - need.total();
  if (available == 0 || options.session.ignore_memory) return 0;
  const MemoryQuestion question{
      .session = options.session,
      .context = ContextTokens(options.session, info),
      .image_tokens = sizes.back().Bytes() / 3 / std::max<size_t>(info.pixels_per_token, 1),
      .available_bytes = available};
  throw Failure(kRuntimeError, options.model + ": needs " + FormatBytes(need.total()) + " of memory, " +
                                   FormatBytes(available) + " are free; " + MemoryAdvice(question, estimate));
}

void Announce(const CommonOptions& options, const Model& model, const Session& session, Console& console) {
  if (const size_t bytes = model.info().repacked_bytes)
    console.Note("weights: " + FormatBytes(bytes) + " copied to be read faster (--repack)");
  if (!session.gpu_report().empty() && !console.verbose) console.Note("gpu: " + session.gpu_report());
  console.Note("attention: " + std::string(Name(options.session.attention)) + ", tile " +
               std::to_string(session.tile()) + " (" + session.tile_reason() + ")" + ", context " +
               Plural(session.context(), "token") + " as " + std::string(Name(options.session.kv_type)) +
               ", " + Plural(session.threads(), "thread") + ", " + ProbeMachine().isa);
}

}  // namespace

size_t ContextTokens(const SessionOptions& session, const ModelInfo& model) {
  return session.context ? session.context : std::min(kDefaultContext, model.max_seq_len);
}

void SelectIsa(const CommonOptions& options) {
  if (!options.isa.empty()) TakingOptions([&] { SelectInstructionSet(options.isa); });
}

PicturePlan PlanOf(const Medium& medium, const Session& session) {
  return ReadingFiles([&] {
    try {
      return medium.part.clip ? session.Plan(*medium.part.clip) : session.Plan(*medium.part.picture);
    } catch (const Error& e) {
      throw Error(e.code(), medium.name + ": " + e.what());
    }
  });
}

std::string DescribeMedium(const Medium& medium, const Engine& engine) {
  const auto size = [](const auto& p) { return std::to_string(p.width) + "x" + std::to_string(p.height); };
  const bool clip = medium.part.clip != nullptr;
  const Picture& picture = clip ? medium.part.clip->frames.front() : *medium.part.picture;
  const PicturePlan plan = PlanOf(medium, engine.session);
  const size_t groups =
      clip ? (medium.part.clip->frames.size() + 1) / 2 : 1;  // two frames share their tokens
  const size_t limit = clip ? engine.session.fitted_video_tokens() : engine.session.fitted_image_tokens();
  const bool fitted =
      limit && groups * picture.width * picture.height / engine.model.info().pixels_per_token > limit;
  return medium.name + ": " + (clip ? Plural(medium.part.clip->frames.size(), "frame") + " of " : "") +
         size(picture) + ", resized to " + size(plan) + ", " + Plural(plan.tokens, "token") +
         (fitted ? std::string(" so that the context holds it (") +
                       (clip ? "--max-video-tokens" : "--max-image-tokens") + ", --ctx)"
                 : "");
}

Engine StartEngine(const CommonOptions& given, const std::vector<Medium>& media, Console& console) {
  SelectIsa(given);
  const ModelInfo info = LookAtFiles(given, media);
  CommonOptions options = given;
  const size_t left_bytes = CheckMemory(options, info, media, console);
  if (options.repack == RepackChoice::kAuto && left_bytes < info.repackable_bytes)
    options.repack = RepackChoice::kOff;
  CheckInterrupted();
  const auto start = std::chrono::steady_clock::now();
  Model model = ReadingFiles([&] {
    ModelOptions load = LoadOptions(options);
    load.log = console.Log();
    load.progress = console.Progress();
    return Model::Load(options.model, load);
  });
  const double load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CheckInterrupted();
  SessionOptions session_options = options.session;
  session_options.log = console.Log();
  session_options.progress = console.Progress();
  Engine engine{model, TakingOptions([&] { return Session(model, session_options); }), load_s};
  for (const Medium& m : media)
    console.Note((m.part.clip ? "clip " : "picture ") + DescribeMedium(m, engine));
  Announce(options, engine.model, engine.session, console);
  return engine;
}

double PromptTokensPerSecond(const Reply& r) {
  return r.prefill_s > 0 ? static_cast<double>(r.prompt_tokens - r.reused_tokens) / r.prefill_s : 0;
}

double AnswerTokensPerSecond(const Reply& r) {
  // The first token comes from the prompt's logits, so the loop ran once less.
  return r.ids.size() > 1 && r.decode_s > 0 ? static_cast<double>(r.ids.size() - 1) / r.decode_s : 0;
}

std::string Statistics(const Reply& r) {
  std::string line = "prompt " + Plural(r.prompt_tokens, "token") + " (" + std::to_string(r.reused_tokens) +
                     " reused, " + std::to_string(r.image_tokens) + " of pictures), " +
                     FormatNumber(PromptTokensPerSecond(r), 1) + " t/s";
  if (r.encode_s > 0) line += "; pictures encoded in " + FormatNumber(r.encode_s, 2) + " s";
  line += "; first token after " + FormatNumber(r.first_token_s, 2) + " s; answer " +
          Plural(r.ids.size(), "token");
  if (r.ids.size() > 1) line += ", " + FormatNumber(AnswerTokensPerSecond(r), 1) + " t/s";
  if (r.drafted_tokens > 0)
    line += ", " + std::to_string(r.accepted_tokens) + " of " + Plural(r.drafted_tokens, "draft token") +
            " accepted";
  return line + "; ended by " + std::string(qwen3vl::Name(r.finish));
}

Json ReplyJson(const Reply& r) {
  return {
      {"text", r.text},
      {"finish", qwen3vl::Name(r.finish)},
      {"ids", r.ids},
      {"prompt_tokens", r.prompt_tokens},
      {"reused_tokens", r.reused_tokens},
      {"image_tokens", r.image_tokens},
      {"drafted_tokens", r.drafted_tokens},
      {"accepted_tokens", r.accepted_tokens},
      {"seconds",
       {{"preprocess", r.preprocess_s},
        {"encode", r.encode_s},
        {"prefill", r.prefill_s},
        {"decode", r.decode_s},
        {"first_token", r.first_token_s}}},
      {"tokens_per_second", {{"prompt", PromptTokensPerSecond(r)}, {"answer", AnswerTokensPerSecond(r)}}}};
}

}  // namespace qwen3vl::cli
