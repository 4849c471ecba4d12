// SPDX-License-Identifier: Apache-2.0
// Reads a model's config and tokenizer out of GGUF metadata.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qwen3vl/config.h"
#include "qwen3vl/gguf.h"
#include "qwen3vl/weights.h"

namespace qwen3vl {

// The text model of `file`, the first part where it is split. Throws Error(kUnsupported) for another
// architecture, kCorruptFile naming the key. Leaves vocab_size 0, which is a tensor's shape, and vision
// empty.
ModelConfig ReadGgufTextConfig(const GgufFile& file);

// The number of deepstack features that the text model was made for, where it says so.
std::optional<size_t> DeclaredDeepstack(const GgufFile& text);

// Whether a vision file is of this architecture and as wide as the text model.
bool VisionFits(const GgufFile& mmproj, const GgufFile& text);

// The vision tower of `mmproj` and its preprocessing into `config`. Throws as above.
void ReadGgufVisionConfig(const GgufFile& mmproj, ModelConfig& config, std::vector<std::string>& warnings);

// Empty when the file has no vocabulary. Throws Error(kUnsupported) for another kind of tokenizer.
TokenizerSource ReadGgufTokenizer(const GgufFile& file, std::vector<std::string>& warnings);

// Ids of the special tokens by their texts, and the ids that end an answer.
void FindSpecialIds(const GgufFile& file, const TokenizerSource& tokenizer, ModelConfig& config);

}  // namespace qwen3vl
