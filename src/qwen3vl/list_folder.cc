// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/list_folder.h"

#include "qwen3vl/error.h"

namespace qwen3vl {

std::vector<std::filesystem::directory_entry> ListFolder(const std::string& folder,
                                                         const std::string& wanted) {
  std::vector<std::filesystem::directory_entry> entries;
  std::error_code problem;
  for (std::filesystem::directory_iterator at(folder, problem), end; !problem && at != end;
       at.increment(problem))
    entries.push_back(*at);
  if (!problem) return entries;
  const bool missing = problem == std::errc::no_such_file_or_directory;
  throw Error(missing ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
              folder + ": " + problem.message() + ", want " + wanted);
}

}  // namespace qwen3vl
