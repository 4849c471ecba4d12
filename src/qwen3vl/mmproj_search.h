// SPDX-License-Identifier: Apache-2.0
// Finds the vision file that belongs to a GGUF text model when the user named none.
#pragma once

#include <string>
#include <vector>

#include "qwen3vl/gguf.h"

namespace qwen3vl {

// The *.gguf files in `folder` whose names do not say mmproj, in the order of their names.
std::vector<std::string> TextGgufs(const std::string& folder);

// The *mmproj*.gguf file beside `text` that fits its width and whose name has most in common with it; of
// several number types F16, then BF16, then F32. Empty when none fits. Throws Error(kInvalidArgument) naming
// --mmproj when two equally good ones differ in more than the number type.
std::string FindMmproj(const GgufFile& text, std::vector<std::string>& warnings);

}  // namespace qwen3vl
