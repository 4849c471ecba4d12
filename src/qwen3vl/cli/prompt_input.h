// SPDX-License-Identifier: Apache-2.0
// The prompt of verify, profile and trace: a text with the chat template around it, or token ids as they are,
// for models that came without a tokenizer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

struct PromptOptions {
  std::optional<std::string> text, ids_path;
  MediaOptions media;
};

// -p, --ids and the options of pictures and clips.
void AddPromptOptions(CLI::App& app, PromptOptions& options);

// The prompt as given. Neither text nor ids: `default_text`, or for a model without a tokenizer 32 fixed ids.
class PromptInput {
 public:
  // Reads ids and media. Throws Failure.
  PromptInput(const PromptOptions& options, const CommonOptions& common, const std::string& default_text);

  const std::vector<Medium>& media() const { return media_; }
  Reply Run(Engine& engine, const GenerateOptions& options) const;

 private:
  void CheckIds(size_t vocab_size) const;

  std::optional<std::string> text_;
  std::string default_text_, ids_path_;
  std::optional<std::vector<int32_t>> ids_;
  std::vector<Medium> media_;
};

}  // namespace qwen3vl::cli
