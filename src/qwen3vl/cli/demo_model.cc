// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/demo_model.h"

#include <filesystem>

#include "qwen3vl/cli/failure.h"

namespace qwen3vl::cli {

std::string FindDemoModel() {
  namespace fs = std::filesystem;
  std::error_code problem;
  const fs::path executable = fs::read_symlink("/proc/self/exe", problem);
  const fs::path installed = executable.parent_path().parent_path() / "share/qwen3vl/models/demo";
  for (const fs::path& folder : {installed, fs::path(QWEN3VL_SOURCE_DEMO_MODEL)})
    if (fs::exists(folder / "config.json", problem)) return folder.string();
  return "";
}

void ChooseModel(CommonOptions& options, Console& console) {
  if (!options.model.empty()) return;
  options.model = FindDemoModel();
  if (options.model.empty())
    throw Failure(kBadUsage,
                  "no model: want -m MODEL; the demo model is not where this command looks for it");
  console.Note("no -m: using the demo model, " + options.model +
               ", which knows simple drawn scenes; a real model: -m FOLDER or FILE.gguf");
}

}  // namespace qwen3vl::cli
