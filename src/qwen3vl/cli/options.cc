// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "qwen3vl/cli/text_format.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kMaxTile = 65536;
constexpr size_t kMaxThreads = 1024;
constexpr size_t kMaxTokens = std::numeric_limits<int32_t>::max();

[[noreturn]] void Reject(const std::string& option, const std::string& found, const std::string& wanted) {
  throw CLI::ValidationError(option, "'" + OneLine(found) + "', want " + wanted);
}

template <class T>
bool ParseWhole(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, value);
  return problem == std::errc() && stopped == end && !text.empty();
}

// Given twice, the last one counts: a script's defaults can be overridden behind them.
CLI::Option* AddParsed(CLI::App& app, const std::string& name, const std::string& help,
                       const std::string& type, std::function<void(const std::string&)> take) {
  return app.add_option_function<std::string>(name, std::move(take), help)
      ->type_name(type)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

// The numbers that an option takes.
struct Range {
  double low = 0, high = 0;
  bool above = false;  // low itself is not one of them

  // As floats, which is what is computed with.
  bool Holds(double value) const {
    const auto x = static_cast<float>(value), least = static_cast<float>(low);
    return (above ? x > least : value >= low) && value <= high;
  }
  std::string Text() const {
    const std::string from = "a number " + std::string(above ? "above " : "from ") + NumberText(low);
    return high == kUnbounded ? from : from + (above ? ", at most " : " to ") + NumberText(high);
  }
  static constexpr double kUnbounded = std::numeric_limits<float>::max();
};

double ParseReal(const std::string& option, const std::string& text, const Range& range) {
  double value = 0;
  if (!ParseWhole(text, value) || !range.Holds(value)) Reject(option, text, range.Text());
  return value;
}

CLI::Option* AddOptionalReal(CLI::App& app, const std::string& name, std::optional<double>& target,
                             const std::string& help, const Range& range) {
  return AddParsed(app, name, help, "X",
                   [=, &target](const std::string& text) { target = ParseReal(name, text, range); });
}

CLI::Option* AddOptionalCount(CLI::App& app, const std::string& name, std::optional<size_t>& target,
                              const std::string& help, size_t high) {
  return AddParsed(app, name, help, "N",
                   [=, &target](const std::string& text) { target = ParseCount(name, text, 0, high); });
}

// "8-15=standard" or "3=tiled".
void ParseLayerChoice(const std::string& option, const std::string& item,
                      std::vector<std::pair<size_t, AttentionChoice>>& out) {
  const size_t equals = item.find('=');
  const std::string layers = item.substr(0, equals);
  const size_t dash = layers.find('-');
  const std::string first = layers.substr(0, dash);
  const std::string last = dash == std::string::npos ? first : layers.substr(dash + 1);
  constexpr size_t kMaxLayer = 9999;
  size_t from = 0, to = 0;
  if (equals == std::string::npos || !ParseWhole(first, from) || !ParseWhole(last, to) || from > to ||
      to > kMaxLayer)
    Reject(option, item, "LAYERS=PATH as in 8-15=standard");
  const AttentionChoice choice = ParseAttention(option, item.substr(equals + 1));
  for (size_t layer = from; layer <= to; ++layer) out.emplace_back(layer, choice);
}

}  // namespace

size_t ParseCount(const std::string& option, const std::string& text, size_t low, size_t high) {
  size_t value = 0;
  if (!ParseWhole(text, value) || value < low || value > high)
    Reject(option, text, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return value;
}

KvType ParseKvType(const std::string& option, const std::string& text) {
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kQ8_0})
    if (text == Name(type)) return type;
  Reject(option, text, "f32, f16, bf16 or q8_0");
}

AttentionChoice ParseAttention(const std::string& option, const std::string& text) {
  using enum AttentionChoice;
  for (AttentionChoice choice : {kAuto, kCuda, kTiled, kStandard})
    if (text == Name(choice)) return choice;
  Reject(option, text, "auto, cuda, tiled or standard");
}

std::pair<size_t, size_t> ParseSize(const std::string& option, const std::string& text) {
  constexpr size_t kMaxSide = 1'000'000;
  const size_t cross = text.find('x');
  size_t width = 0, height = 0;
  if (cross == std::string::npos || !ParseWhole(text.substr(0, cross), width) ||
      !ParseWhole(text.substr(cross + 1), height) || width < 1 || height < 1 || width > kMaxSide ||
      height > kMaxSide)
    Reject(option, text, "WIDTHxHEIGHT in pixels as in 1024x768");
  return {width, height};
}

std::vector<std::string> SplitList(const std::string& text, char separator) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

CLI::Option* RefuseEmpty(CLI::Option* option, const std::string& wanted) {
  return option->check([wanted](const std::string& text) {
    return text.empty() ? "'', want " + wanted + ": is a variable unset?" : std::string();
  });
}

CLI::Option* AddPath(CLI::App& app, const std::string& name, std::string& target, const std::string& help,
                     const std::string& type) {
  return app
      .add_option_function<std::string>(
          name,
          [=, &target](const std::string& text) {
            if (text.empty()) Reject(name, text, "the name of a file or folder: is a variable unset?");
            target = text;
          },
          help)
      ->type_name(type);
}

CLI::Option* AddCount(CLI::App& app, const std::string& name, size_t& target, const std::string& help,
                      size_t low, size_t high) {
  return AddParsed(app, name, help, "N",
                   [=, &target](const std::string& text) { target = ParseCount(name, text, low, high); });
}

CLI::Option* AddReal(CLI::App& app, const std::string& name, double& target, const std::string& help,
                     double low, double high) {
  return AddParsed(app, name, help, "X", [=, &target](const std::string& text) {
    target = ParseReal(name, text, {low, high});
  });
}

std::optional<SamplingOptions> SamplingFlags::Over(const SamplingOptions& model_defaults) const {
  if (!temperature && !top_p && !min_p && !repetition_penalty && !presence_penalty && !top_k && !seed)
    return std::nullopt;
  SamplingOptions s = model_defaults;
  const auto take = [](auto& value, const auto& given) {
    if (given) value = static_cast<std::remove_reference_t<decltype(value)>>(*given);
  };
  take(s.temperature, temperature);
  take(s.top_p, top_p);
  take(s.top_k, top_k);
  take(s.min_p, min_p);
  take(s.repetition_penalty, repetition_penalty);
  take(s.presence_penalty, presence_penalty);
  take(s.seed, seed);
  return s;
}

void AddModelOptions(CLI::App& app, CommonOptions& o, bool model_required) {
  AddPath(app, "-m,--model", o.model,
          "Hugging Face folder (config.json, *.safetensors, tokenizer.json), GGUF file, or folder with one",
          "MODEL")
      ->required(model_required);
  AddPath(app, "--mmproj", o.mmproj, "vision GGUF; default: found next to the text GGUF", "FILE");
  app.add_flag("--verbose", o.verbose, "also print informational messages");
  app.add_flag("--json", o.json, "results as JSON, and nothing else on stdout");
}

void AddTile(CLI::App& app, size_t& tile, bool& use_tuning) {
  AddParsed(
      app, "--tile",
      "attention tile: key/value rows per step, 1 to 65536; auto (default): as measured by bench tune, else "
      "by hardware; prescribed: by hardware only",
      "N|auto", [&tile, &use_tuning](const std::string& text) {
        size_t asked = 0;
        const bool word = text == "auto" || text == "prescribed";
        if (!word && (!ParseWhole(text, asked) || asked < 1 || asked > kMaxTile))
          Reject("--tile", text, "a whole number from 1 to 65536, auto, or prescribed");
        tile = asked;
        use_tuning = text != "prescribed";
      });
}

void AddPathOptions(CLI::App& app, SessionOptions& s) {
  const OptionGroup group(app, "Computation");
  AddParsed(app, "--kv-type",
            "KV cache type: f32, f16, bf16 or q8_0; default " + std::string(Name(s.kv_type)), "TYPE",
            [&s](const std::string& text) { s.kv_type = ParseKvType("--kv-type", text); });
  AddParsed(app, "--attention",
            "attention path: auto, cuda, tiled or standard; one that cannot run falls back to the next",
            "PATH", [&s](const std::string& text) { s.attention = ParseAttention("--attention", text); });
  AddParsed(
      app, "--cpu-products",
      "arithmetic on the CPU of prompt and vision attention and of products with f32, f16 and bf16 weights: "
      "f32; int16 (16-bit integers, a quarter less time); auto (default): int16, but f32 where the weights "
      "or the KV cache are f32, and with --exact",
      "TYPE", [&s](const std::string& text) {
        s.cpu_products = CpuProducts::kAuto;
        for (const CpuProducts products : {CpuProducts::kF32, CpuProducts::kInt16})
          if (text == Name(products)) s.cpu_products = products;
        if (text != Name(s.cpu_products)) Reject("--cpu-products", text, "auto, f32 or int16");
      });
  AddParsed(app, "--gpu-scores",
            "attention scores on the GPU: f32 (default), or int8 (DP4A, q and k rounded to 8 bits)", "TYPE",
            [&s](const std::string& text) {
              if (text != Name(GpuScores::kF32) && text != Name(GpuScores::kInt8))
                Reject("--gpu-scores", text, "f32 or int8");
              s.gpu_scores = text == Name(GpuScores::kInt8) ? GpuScores::kInt8 : GpuScores::kF32;
            });
  AddTile(app, s.tile, s.use_tuning);
}

void AddRepack(CLI::App& app, RepackChoice& repack, const std::string& help) {
  AddParsed(app, "--repack", help, "CHOICE", [&repack](const std::string& text) {
    for (const RepackChoice choice : {RepackChoice::kAuto, RepackChoice::kOn, RepackChoice::kOff})
      if (text == Name(choice)) return void(repack = choice);
    Reject("--repack", text, "on, off or auto");
  });
}

ModelOptions LoadOptions(const CommonOptions& o) {
  const bool unused = o.session.exact || o.session.gpu_layers > 0;
  return {.mmproj = o.mmproj,
          .repack = o.repack == RepackChoice::kAuto && unused ? RepackChoice::kOff : o.repack,
          .log = {},
          .progress = {}};
}

void AddGpuOptions(CLI::App& app, SessionOptions& s) {
  const OptionGroup group(app, "GPU");
  AddParsed(
      app, "--gpu-layers",
      "run the last N text layers on an NVIDIA GPU (after all of them also the output matrix); auto: as many "
      "as fit, if a layer measures faster there; default 0",
      "N|auto", [&s](const std::string& text) {
        size_t layers = 0;
        if (text != "auto" && !ParseWhole(text, layers))
          Reject("--gpu-layers", text, "a whole number, or auto");
        s.gpu_layers = text == "auto" ? kAutoGpuLayers : std::min(layers, kMaxTokens);
      });
  AddParsed(
      app, "--gpu-vision",
      "run the vision tower on an NVIDIA GPU: on, off, or auto (default): with --gpu-layers auto, if it fits "
      "and a block measures faster there",
      "CHOICE", [&s](const std::string& text) {
        for (const GpuVision choice : {GpuVision::kAuto, GpuVision::kOn, GpuVision::kOff})
          if (text == Name(choice)) return void(s.gpu_vision = choice);
        Reject("--gpu-vision", text, "on, off or auto");
      });
}

void AddAttentionOptions(CLI::App& app, CommonOptions& o) {
  const OptionGroup group(app, "Computation");
  AddCount(app, "--threads", o.session.threads, "threads; default: one per physical performance core", 1,
           kMaxThreads);
  AddPathOptions(app, o.session);
  RefuseEmpty(app.add_option("--isa", o.isa,
                             "instruction set: baseline, sse4, avx2, avx512 or avx512vnni; default: the best "
                             "available"),
              "the name of an instruction set")
      ->type_name("NAME");
}

void AddSessionOptions(CLI::App& app, CommonOptions& o) {
  SessionOptions& s = o.session;
  const OptionGroup group(app, "Computation");
  AddAttentionOptions(app, o);
  AddGpuOptions(app, s);
  AddRepack(app, o.repack);
  AddParsed(app, "--attention-layers", "attention path of single text layers, as in 8-15=standard,20=tiled",
            "LIST",
            [&s](const std::string& text) {
              for (const std::string& item : SplitList(text, ','))
                ParseLayerChoice("--attention-layers", item, s.attention_layers);
            })
      ->multi_option_policy(CLI::MultiOptionPolicy::Join)
      ->delimiter(',');
  AddCount(app, "--ctx", s.context,
           "context size in tokens; default " + std::to_string(kDefaultContext) +
               ", or the model's limit if lower",
           1, kMaxTokens);
  AddCount(app, "--chunk", s.prefill_chunk,
           "prompt tokens processed at a time, which bounds scratch memory; default " +
               std::to_string(s.prefill_chunk),
           1, kMaxTokens);
  AddCount(app, "--min-image-tokens", s.min_image_tokens,
           "enlarge smaller pictures to this; default: the model's", 1, kMaxTokens);
  AddCount(
      app, "--max-image-tokens", s.max_image_tokens,
      "scale larger pictures down to this; default: the model's, in run and chat at most a share of --ctx", 1,
      kMaxTokens);
  AddCount(app, "--max-video-tokens", s.max_video_tokens,
           "scale larger clips down to this; default: likewise", 1, kMaxTokens);
  app.add_flag("--exact", s.exact,
               "keep activations in floats with quantised weights: slower, slightly more accurate");
  app.add_flag("--check-finite", s.check_finite, "recompute attention whose result is not finite");
  app.add_flag("--force", s.ignore_memory, "start even if free memory seems too small");
}

std::vector<MediaArgument> MediaOptions::Items() const {
  std::vector<MediaArgument> items;
  size_t images = 0, videos = 0;
  for (const CLI::Option* option : app->parse_order()) {
    if (option == image) {
      const std::string& value = image->results().at(images++);
      std::error_code problem;
      items.push_back({false, value, value == "-" || std::filesystem::is_fifo(value, problem)});
    }
    if (option == video) items.push_back({true, video->results().at(videos++)});
  }
  return items;
}

void AddMediaOptions(CLI::App& app, MediaOptions& o) {
  const OptionGroup group(app, "Pictures and clips");
  o.app = &app;
  o.image = app.add_option("--image", "picture: JPEG, PNG, WebP, GIF or BMP; -: from stdin; repeatable")
                ->type_name("FILE");
  o.video =
      app.add_option("--video", "clip: a folder of frames, or frame files separated by commas; repeatable")
          ->type_name("DIR|F,F");
  for (const char* name : {"--image", "--video"})
    RefuseEmpty(app.get_option(name))->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddPictureOptions(app, o);
}

void AddPictureOptions(CLI::App& app, MediaOptions& o) {
  const OptionGroup group(app, "Pictures and clips");
  AddReal(app, "--fps", o.fps, "frame rate of clips; default 24", 0.001, 10000);
  AddParsed(app, "--alpha",
            "transparent pixels: drop the alpha channel as the reference does (default), or blend with white",
            "white|drop", [&o](const std::string& text) {
              if (text != "white" && text != "drop") Reject("--alpha", text, "white or drop");
              o.picture.alpha_on_white = text == "white";
            });
  AddCount(
      app, "--max-pixels", o.picture.max_pixels,
      "refuse pictures with more pixels, before decoding; default " + std::to_string(o.picture.max_pixels), 1,
      size_t{1} << 40);
}

void AddSamplingOptions(CLI::App& app, SamplingFlags& f) {
  const OptionGroup group(app, "Sampling");
  const std::string model = "; default: the model's";
  AddOptionalReal(app, "--temp", f.temperature, "temperature; 0: greedy" + model, {0, 100});
  AddOptionalReal(
      app, "--top-p", f.top_p,
      "nucleus sampling: the likeliest tokens that add up to this probability, above 0, at most 1" + model,
      {0, 1, /*above=*/true});
  AddOptionalCount(app, "--top-k", f.top_k, "only the K likeliest tokens; 0: all" + model, kMaxTokens);
  AddOptionalReal(app, "--min-p", f.min_p,
                  "only tokens with at least this share of the top probability; default 0", {0, 1});
  AddOptionalReal(app, "--repeat-penalty", f.repetition_penalty,
                  "repetition penalty for tokens seen before, above 0; 1: none" + model,
                  {0, Range::kUnbounded, /*above=*/true});
  AddOptionalReal(app, "--presence-penalty", f.presence_penalty,
                  "subtracted from the logits of tokens already in the answer; default 0", {-100, 100});
  AddOptionalCount(app, "--seed", f.seed, "random seed: same seed, same answer; default 0",
                   std::numeric_limits<size_t>::max());
}

void AddGenerateOptions(CLI::App& app, GenerateOptions& o) {
  const OptionGroup group(app, "Answer");
  AddCount(app, "-n,--max-tokens", o.max_tokens,
           "maximum length of the answer; default " + std::to_string(o.max_tokens), 0, kMaxTokens);
  app.add_option("--stop", o.stop, "end the answer at this text, and leave the text out; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", o.ignore_end, "continue after an end-of-sequence token");
  AddCount(
      app, "--draft", o.draft_tokens,
      "speculative decoding by prompt lookup: up to N draft tokens a step, when likely to save time; the "
      "answer stays the same; default " +
          std::to_string(o.draft_tokens) + ", 0: off",
      0, 3);
  app.add_flag_callback(
      "--think", [&o] { o.enable_thinking = true; }, "let a thinking model reason first (default)");
  app.add_flag_callback(
      "--no-think", [&o] { o.enable_thinking = false; },
      "skip the reasoning, where the model's chat template can");
}

}  // namespace qwen3vl::cli
