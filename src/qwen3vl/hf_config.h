// SPDX-License-Identifier: Apache-2.0
// Reads the JSON files that stand beside the weights in a Hugging Face folder.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/config.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

struct HfConfig {
  ModelConfig config;
  bool says_untied = false;  // a tie_word_embeddings is false and none is true
  std::vector<std::string> warnings;
};

// config.json, generation_config.json and the preprocessor files; all but the first may be missing. Files of
// transformers 4.57 and 5 are understood. Throws Error(kNotFound, kCorruptFile, kUnsupported) naming file,
// key, value and wish. Not yet checked by CheckConfig.
HfConfig ReadHfConfig(const std::string& folder);

// Where the folder's tokenizer is (empty without one) and its chat template.
TokenizerSource ReadHfTokenizerSource(const std::string& folder);

}  // namespace qwen3vl
