// SPDX-License-Identifier: Apache-2.0
// Reads how pictures and clips are prepared: preprocessor_config.json, video_preprocessor_config.json, or
// processor_config.json, which nests both.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/config.h"

namespace qwen3vl {

// Missing files leave the published settings and a warning. Throws Error(kCorruptFile) for wrong types and
// for patch or merge sizes that contradict `vision`.
PreprocessConfig ReadHfPreprocess(const std::string& folder, const VisionConfig& vision,
                                  std::vector<std::string>& warnings);

}  // namespace qwen3vl
