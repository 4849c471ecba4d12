// SPDX-License-Identifier: Apache-2.0
// What stands behind the public Model: the files, the tokenizer and the recognised chat template.
#pragma once

#include <optional>

#include "qwen3vl/chat_prompt.h"
#include "qwen3vl/qwen3vl.h"
#include "qwen3vl/tokenizer.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

struct Model::Impl {
  ModelFiles files;
  size_t repacked_bytes = 0;
  std::optional<Tokenizer> tokenizer;
  ChatTemplate chat_template = ChatTemplate::kQwen3VlInstruct;
};

ModelInfo MakeModelInfo(const ModelFiles& files);
// Whether the files hold anything to make a tokenizer of.
bool HasTokenizer(const TokenizerSource& source);

}  // namespace qwen3vl
