// SPDX-License-Identifier: Apache-2.0
// From options to a loaded model with an open session: checks that memory suffices before anything is loaded,
// and says on stderr what will run.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/cli/console.h"
#include "qwen3vl/cli/media.h"
#include "qwen3vl/cli/options.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

struct Engine {
  Model model;
  Session session;
  double load_s = 0;
};

// Throws Failure: kRuntimeError when memory does not suffice (naming the option that would help), kBadFile
// when there are pictures and the model has no vision part, kBadUsage for options the model cannot take.
Engine StartEngine(const CommonOptions& options, const std::vector<Medium>& media, Console& console);

// Selects the instruction set of --isa; kBadUsage when this machine lacks it.
void SelectIsa(const CommonOptions& options);

// Tokens that the session's context will hold: those asked for, or the default.
size_t ContextTokens(const SessionOptions& session, const ModelInfo& model);

// Throws Failure(kBadFile) naming the medium when its shape is impossible.
PicturePlan PlanOf(const Medium& medium, const Session& session);
// What is computed for one picture or clip: "cat.jpg: 640x480, resized to 640x480, 300 tokens".
std::string DescribeMedium(const Medium& medium, const Engine& engine);

// One line on the finished answer: tokens, speed, waiting time, reason of the end.
std::string Statistics(const Reply& reply);
Json ReplyJson(const Reply& reply);
double PromptTokensPerSecond(const Reply& reply);
double AnswerTokensPerSecond(const Reply& reply);

// Advice for a need that the free memory does not cover: the first single option, or pair of them, with which
// it would, else a smaller file. `need` estimates under other options.
struct MemoryQuestion {
  SessionOptions session;
  size_t context = 0;       // tokens asked for, or the default
  size_t image_tokens = 0;  // of the largest picture; 0: none
  size_t available_bytes = 0;
};
std::string MemoryAdvice(const MemoryQuestion& question,
                         const std::function<MemoryNeed(const SessionOptions&)>& need);

}  // namespace qwen3vl::cli
