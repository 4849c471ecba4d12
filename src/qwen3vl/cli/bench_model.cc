// SPDX-License-Identifier: Apache-2.0
// `qwen3vl bench model` and `qwen3vl bench image`: whole models.
#include <memory>

#include "qwen3vl/bench/model.h"
#include "qwen3vl/cli/bench.h"
#include "qwen3vl/cli/bench_model_options.h"
#include "qwen3vl/cli/input.h"

namespace qwen3vl::cli {
namespace {

constexpr size_t kMaxTokens = size_t{1} << 20;

constexpr const char* kModelFooter =
    R"(Random token ids, so a model without a tokenizer serves as well. For each depth the cache holds that many tokens
before; then --prompt new ones are processed, and --generate tokens generated one by one. The error is that of
the last logits of a short prompt, against float32 throughout: --exact, --kv-type f32 and --attention standard.

--answer FILE makes the model say the text of the file, and times that with and without draft tokens (run --draft),
in turn. FILE is JSON: {"name": "boxes", "prompt": "Where are the cats?", "answer": "[{\"bbox_2d\": ..."}.

Examples:
  qwen3vl bench model -m model.gguf
  qwen3vl bench model -m model.gguf --prompt 0 --generate 0 --depths 0 --answer bench/answers/boxes.json
  qwen3vl bench model -m model.gguf --depths 0,1024,4096 --threads 4 --isa avx2 --format markdown)";

constexpr const char* kImageFooter =
    R"(Made-up pictures of each size, as many in one prompt as --counts says, encoded anew each time. One row a stage:
preprocess, encode, prefill (of the whole prompt), and the time to the first token of the answer. The error is that
of `bench model`, on a picture of 256x256.

Example:
  qwen3vl bench image -m model.gguf --sizes 512x512,1024x768 --counts 1,2)";

struct ModelState {
  BenchOptions bench;
  CommonOptions common;
  bench::ModelOptionsBench model;
  std::vector<std::string> answers;
};

bench::ModelOptionsBench::AnswerText ReadAnswer(const std::string& path) {
  const Json file = ParseJson(ReadText(path), path);
  bench::ModelOptionsBench::AnswerText text{.path = path};
  for (const auto& [key, to] :
       {std::pair{"name", &text.name}, {"prompt", &text.prompt}, {"answer", &text.answer}}) {
    if (!file.is_object() || !file.contains(key) || !file[key].is_string())
      throw Failure(kBadFile, path + ": no text \"" + key +
                                  "\", want {\"name\": ..., \"prompt\": ..., \"answer\": ...}");
    *to = file[key].get<std::string>();
  }
  return text;
}

struct ImageState {
  BenchOptions bench;
  CommonOptions common;
  bench::ImageOptionsBench image;
};

// Of a picture that `run` would read.
std::pair<size_t, size_t> ParsePictureSize(const std::string& text) {
  const size_t most = PictureOptions{}.max_pixels;
  const std::pair<size_t, size_t> size = ParseSize("--sizes", text);
  if (size.first > most / size.second)
    throw CLI::ValidationError("--sizes", "'" + text + "', want at most " + std::to_string(most) + " pixels");
  return size;
}

ExitCode BenchModel(ModelState& state, Console& console) {
  for (const std::string& path : state.answers) state.model.answers.push_back(ReadAnswer(path));
  if (state.model.prompt_tokens == 0 && state.model.generate_tokens == 0 && state.model.answers.empty())
    throw CLI::ValidationError("--prompt", "0 and --generate 0 leave nothing to measure");
  return RunWholeModel(state.common, state.bench, state.model, console, bench::RunModel);
}

ExitCode BenchImage(ImageState& state, Console& console) {
  return RunWholeModel(state.common, state.bench, state.image, console, bench::RunImage);
}

}  // namespace

Command AddBenchModel(CLI::App& bench) {
  const auto state = std::make_shared<ModelState>();
  CLI::App* app = bench.add_subcommand("model", "Measures prompt and generation speed of a model by depth");
  AddWholeModelOptions(*app, state->common, state->bench, /*model_required=*/true);
  AddCount(*app, "--prompt", state->model.prompt_tokens, "tokens of a prompt, 0: not measured; default 512",
           0, kMaxTokens);
  AddCount(*app, "--generate", state->model.generate_tokens, "tokens generated, 0: not measured; default 64",
           0, kMaxTokens);
  AddCounts(*app, "--depths", state->model.depths, "tokens in the cache before; default 0,4096", 0,
            kMaxTokens);
  RefuseEmpty(app->add_option("--answer", state->answers,
                              "also time an answer, with and without draft tokens; repeatable"))
      ->type_name("FILE")
      ->allow_extra_args(false);
  app->footer(kModelFooter);
  return {app, [state](Console& console) { return BenchModel(*state, console); }};
}

Command AddBenchImage(CLI::App& bench) {
  const auto state = std::make_shared<ImageState>();
  CLI::App* app = bench.add_subcommand("image", "Measures the stages of reading pictures by size and count");
  AddWholeModelOptions(*app, state->common, state->bench, /*model_required=*/true);
  app->add_option_function<std::string>(
         "--sizes",
         [state](const std::string& text) {
           state->image.sizes.clear();
           for (const std::string& item : SplitList(text, ','))
             state->image.sizes.push_back(ParsePictureSize(item));
           if (state->image.sizes.empty())
             throw CLI::ValidationError("--sizes",
                                        "'" + text + "', want WIDTHxHEIGHT with commas between them");
         },
         "pictures, as in 512x512,1024x768; default 256x256,512x512")
      ->type_name("WxH,WxH");
  AddCounts(*app, "--counts", state->image.counts, "pictures in one prompt; default 1", 1, 64);
  app->footer(kImageFooter);
  return {app, [state](Console& console) { return BenchImage(*state, console); }};
}

}  // namespace qwen3vl::cli
