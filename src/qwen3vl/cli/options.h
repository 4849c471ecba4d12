// SPDX-License-Identifier: Apache-2.0
// The options that subcommands share: their names, ranges, defaults and help texts.
#pragma once

#include <CLI/CLI.hpp>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

// A picture or a clip as the command line names it, in the order given.
struct MediaArgument {
  bool clip = false;
  std::string value;    // file; clips: folder, or frame files with commas between them
  bool stream = false;  // a picture that comes through a pipe; "-" is stdin then
};

struct MediaOptions {
  PictureOptions picture;
  double fps = 0;              // of frame files; 0: unknown
  bool whole_folders = false;  // take every frame of a folder instead of those of `sampling`
  ClipSampling sampling;       // the model's

  // What --image and --video named, in the order of the command line. After parsing.
  std::vector<MediaArgument> Items() const;

  const CLI::App* app = nullptr;  // set by AddMediaOptions, as are the next two
  const CLI::Option* image = nullptr;
  const CLI::Option* video = nullptr;
};

struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty;
  std::optional<size_t> top_k, seed;

  // The model's own settings with what was given on the command line; absent when nothing was.
  std::optional<SamplingOptions> Over(const SamplingOptions& model_defaults) const;
};

struct CommonOptions {
  std::string model, mmproj;
  RepackChoice repack = RepackChoice::kAuto;
  SessionOptions session{.pictures_to_fit = 0};  // pictures as the reference has them, but in run and chat
  std::string isa;                               // empty: the best, or what the environment says
  bool verbose = false;
  bool json = false;
};

// Options added while it lives stand under this heading of --help.
class OptionGroup {
 public:
  OptionGroup(CLI::App& app, const std::string& heading)
      : defaults_(*app.option_defaults()), before_(defaults_.get_group()) {
    defaults_.group(heading);
  }
  ~OptionGroup() { defaults_.group(before_); }
  OptionGroup(const OptionGroup&) = delete;
  OptionGroup& operator=(const OptionGroup&) = delete;

 private:
  CLI::OptionDefaults& defaults_;
  std::string before_;
};

// -m, --mmproj, --verbose, --json. `model_required`: -m must be given.
void AddModelOptions(CLI::App& app, CommonOptions& options, bool model_required = true);
// --threads, --ctx, --kv-type, --chunk, --attention, --attention-layers, --gpu-layers, --gpu-vision,
// --cpu-products, --gpu-scores, --tile, --isa, --repack, --exact, --check-finite, --min-image-tokens,
// --max-image-tokens, --max-video-tokens, --force. Their defaults are those of `options`.
void AddSessionOptions(CLI::App& app, CommonOptions& options);
// --tile: 0 where it is chosen by the plan; `use_tuning`: by stored measurements too.
void AddTile(CLI::App& app, size_t& tile, bool& use_tuning);
// The part of them that says how attention runs: --kv-type, --attention, --cpu-products, --gpu-scores,
// --tile.
void AddPathOptions(CLI::App& app, SessionOptions& options);
// --repack on|off|auto.
void AddRepack(CLI::App& app, RepackChoice& repack,
               const std::string& help =
                   "copy weights in Q4_0, Q4_K, Q5_K and Q6_K to where they are read faster: on, off, or "
                   "auto: where free memory holds both, but not with --exact or --gpu-layers; default auto");
// What the model is loaded with. With --exact nothing reads copies, and layers on a GPU do not: by `auto`
// none are made then, also not for layers that stay on the CPU.
ModelOptions LoadOptions(const CommonOptions& options);
// --gpu-layers and --gpu-vision: of a whole model.
void AddGpuOptions(CLI::App& app, SessionOptions& options);
// The path options, --threads and --isa: what one attention operation has.
void AddAttentionOptions(CLI::App& app, CommonOptions& options);
// --fps, --alpha, --max-pixels.
void AddPictureOptions(CLI::App& app, MediaOptions& options);
// Those, --image and --video.
void AddMediaOptions(CLI::App& app, MediaOptions& options);
// --temp, --top-p, --top-k, --min-p, --repeat-penalty, --presence-penalty, --seed.
void AddSamplingOptions(CLI::App& app, SamplingFlags& flags);
// -n, --stop, --ignore-eos, --think, --no-think.
void AddGenerateOptions(CLI::App& app, GenerateOptions& options);

// The name of a file or folder; an empty one is bad usage.
CLI::Option* AddPath(CLI::App& app, const std::string& name, std::string& target, const std::string& help,
                     const std::string& type);
// The same of an option that keeps what it is given in another way; for words, `wanted` says which.
CLI::Option* RefuseEmpty(CLI::Option* option, const std::string& wanted = "the name of a file or folder");
// A whole number in [low, high]; anything else is one line of bad usage.
CLI::Option* AddCount(CLI::App& app, const std::string& name, size_t& target, const std::string& help,
                      size_t low, size_t high = std::numeric_limits<int32_t>::max());
// A real number in [low, high].
CLI::Option* AddReal(CLI::App& app, const std::string& name, double& target, const std::string& help,
                     double low, double high);

// Throws CLI::ValidationError with what was found and wanted.
size_t ParseCount(const std::string& option, const std::string& text, size_t low, size_t high);
KvType ParseKvType(const std::string& option, const std::string& text);
AttentionChoice ParseAttention(const std::string& option, const std::string& text);

// "640x480" -> 640, 480.
std::pair<size_t, size_t> ParseSize(const std::string& option, const std::string& text);

// "a,b,,c" -> a, b, c
std::vector<std::string> SplitList(const std::string& text, char separator);

}  // namespace qwen3vl::cli
