// SPDX-License-Identifier: Apache-2.0
// `run --draw-boxes`: the boxes of an answer, drawn onto the picture and saved.
#pragma once

#include <string>

#include "qwen3vl/cli/console.h"
#include "qwen3vl/qwen3vl.h"

namespace qwen3vl::cli {

// Refuses a file that SaveBoxes should or could not write, before the answer is waited for: one whose name
// does not end in .png, `picture` itself, or one that cannot be written.
void CheckBoxesPath(const std::string& path, const std::string& picture);

// Finds the boxes of `answer`, writes the picture with them as PNG to `path` and says so on stderr. Throws
// Failure(kRuntimeError) when the answer has none, and Error when the file cannot be written, which leaves an
// earlier one as it was.
void SaveBoxes(const std::string& answer, const Picture& picture, const std::string& path, Console& console);

}  // namespace qwen3vl::cli
