// SPDX-License-Identifier: Apache-2.0
#include "hw/cpu_info.h"
#include "qwen3vl/bench/command_line.h"
#include "qwen3vl/bench/model_rows.h"
#include "qwen3vl/bench/random.h"
#include "qwen3vl/bench/rounds.h"
#include "qwen3vl/error.h"
#include "qwen3vl/kv_type.h"

namespace qwen3vl::bench {
namespace {

constexpr size_t kQuestionTokens = 16;
// The picture whose logits are compared with those of float32, which takes minutes on large ones.
constexpr std::pair<size_t, size_t> kCheckedSize = {256, 256};

// Noise on a ramp: neither empty nor too easy to resize.
Picture MadeUpPicture(size_t width, size_t height, uint64_t seed) {
  Picture p{width, height, std::vector<uint8_t>(width * height * 3)};
  RandomBits bits(seed);
  for (size_t i = 0; i < p.pixels.size(); ++i)
    p.pixels[i] = static_cast<uint8_t>((i / 3 % width) * 128 / width + (bits() >> 57));
  return p;
}

class ImageRun {
 public:
  ImageRun(const ImageOptionsBench& options, const MeasureOptions& measure)
      : options_(options),
        measure_(measure),
        model_(Model::Load(options.model, options.load)),
        config_(model_.impl()->files.config) {
    if (!config_.vision)
      throw Error(ErrorCode::kUnsupported,
                  options.model + ": a text-only model; name its vision file with --mmproj");
  }

  void Run(PeakMeter* peaks, const RowSink& sink) {
    for (const auto& size : options_.sizes) Prompt(size, 1);  // refuses what no model takes, before the rest
    Note(measure_, "comparing the logits with those of float32");
    const PicturePrompt checked = Prompt(kCheckedSize, 1);
    accuracy_ = CheckLogits(model_, SessionFor(checked), [&](Session& s) { Ask(s, checked); });
    for (const auto& size : options_.sizes)
      for (const size_t count : options_.counts) RunPictures(size, count, peaks, sink);
  }

 private:
  struct PicturePrompt {
    std::vector<Picture> pictures;
    std::vector<int32_t> ids;
    size_t image_tokens = 0;
    double encode_flop = 0;
  };

  SessionOptions SessionFor(const PicturePrompt& prompt) const {
    SessionOptions options = options_.session;
    options.context = prompt.ids.size() + 1;
    return options;
  }

  PicturePrompt Prompt(std::pair<size_t, size_t> size, size_t count) const {
    PicturePrompt p;
    const Session session(model_, SessionFor(p));  // which knows the sizes after resizing
    for (size_t i = 0; i < count; ++i) {
      p.pictures.push_back(MadeUpPicture(size.first, size.second, 7 + i));
      const size_t n = session.Plan(p.pictures.back()).tokens;
      p.ids.push_back(config_.ids.vision_start);
      p.ids.insert(p.ids.end(), n, config_.ids.image_pad);
      p.ids.push_back(config_.ids.vision_end);
      p.image_tokens += n;
      p.encode_flop += VisionFlop(*config_.vision, n);
    }
    for (const int32_t id : RandomIds(config_, kQuestionTokens, 3)) p.ids.push_back(id);
    return p;
  }

  Reply Ask(Session& session, const PicturePrompt& prompt) const {
    GenerateOptions o;
    o.max_tokens = 0;
    o.sampling = SamplingOptions{};
    o.ignore_end = true;
    return Finished(session.Complete(prompt.ids, prompt.pictures, {}, o));
  }

  void RunPictures(std::pair<size_t, size_t> size, size_t count, PeakMeter* peaks, const RowSink& sink) {
    const PicturePrompt prompt = Prompt(size, count);
    Session session(model_, SessionFor(prompt));
    std::vector<Row> rows;
    for (const char* stage : {"image.preprocess", "image.encode", "image.prefill", "image.first_token"})
      rows.push_back(NewRow(stage, session, size, count, prompt));
    rows[0].accuracy.reset();
    const ModelFiles& files = model_.impl()->files;
    rows[1].flop = prompt.encode_flop;
    rows[1].bytes = static_cast<double>(count) * VisionWeightBytes(files);
    rows[2].flop = TextFlop(config_.text, prompt.ids.size(), 0, 1);
    rows[2].bytes = PromptBytes(files, options_.session, prompt.ids.size(), 0);
    for (const size_t i : {1, 2})
      rows[i].formula =
          "flop: 2 a weight met, 4 * head_dim a key seen, all heads and layers; bytes: weights, keys, values";
    MeasureCalls(
        rows,
        [&](size_t) {
          session.Reset();  // else the pictures would not be encoded again
          const Reply r = Ask(session, prompt);
          return std::vector<double>{r.preprocess_s, r.encode_s, r.prefill_s, r.first_token_s};
        },
        measure_, peaks, WithPathOf(session, sink));
  }

  Row NewRow(const char* layer, const Session& session, std::pair<size_t, size_t> size, size_t count,
             const PicturePrompt& prompt) const {
    Row row;
    row.layer = layer;
    row.preset = config_.name;
    row.shape = {{"width", size.first},
                 {"height", size.second},
                 {"pictures", count},
                 {"image_tokens", prompt.image_tokens},
                 {"prompt_tokens", prompt.ids.size()}};
    row.length = prompt.image_tokens;
    row.dtype = std::string(hw::Name(ToFormat(options_.session.kv_type))) + " cache";
    row.threads = session.threads();
    row.isa = hw::Name(hw::SelectedIsa());
    row.tokens = prompt.image_tokens;
    row.accuracy = accuracy_;
    row.command = options_.command + " -m " + ShellWord(options_.model) +
                  (options_.load.mmproj.empty() ? "" : " --mmproj " + ShellWord(options_.load.mmproj)) +
                  " --sizes " + std::to_string(size.first) + "x" + std::to_string(size.second) +
                  " --counts " + std::to_string(count) + " --threads " + std::to_string(session.threads()) +
                  RepackOf(model_) + options_.command_tail;
    return row;
  }

  const ImageOptionsBench& options_;
  const MeasureOptions& measure_;
  Model model_;
  const ModelConfig& config_;
  Accuracy accuracy_;
};

}  // namespace

void RunImage(const ImageOptionsBench& options, const MeasureOptions& measure, PeakMeter* peaks,
              const RowSink& sink) {
  ImageRun(options, measure).Run(peaks, sink);
}

}  // namespace qwen3vl::bench
