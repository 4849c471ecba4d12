// SPDX-License-Identifier: Apache-2.0
// What the two forms of `qwen3vl run` share: one answer, and a list of them.
#pragma once

#include <optional>
#include <string>

#include "qwen3vl/cli/engine.h"
#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/options.h"

namespace qwen3vl::cli {

struct RunState {
  CommonOptions common;
  MediaOptions media;
  SamplingFlags sampling;
  GenerateOptions generate;
  std::optional<std::string> prompt, system, list_path, boxes_path;
};

// The conversation of one question.
std::vector<Message> Conversation(const RunState& state, const std::vector<Medium>& media,
                                  const std::string& prompt);

// Size and tokens of each picture and clip, as --json shows them.
Json PicturesJson(const std::vector<Medium>& media, const Session& session);

// Answers every line of state.list_path with the model loaded once: one JSON line of result each.
ExitCode RunList(RunState& state, Console& console);

}  // namespace qwen3vl::cli
