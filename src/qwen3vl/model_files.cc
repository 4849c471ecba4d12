// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/model_files.h"

#include <filesystem>
#include <set>

#include "hw/cpu_info.h"
#include "qwen3vl/error.h"
#include "qwen3vl/gguf.h"
#include "qwen3vl/mmproj_search.h"

namespace qwen3vl {

std::string ModelAt(const std::string& path) {
  std::error_code problem;
  if (!std::filesystem::is_directory(path, problem) ||
      std::filesystem::exists(path + "/config.json", problem))
    return path;
  const std::vector<std::string> files = TextGgufs(path);
  if (files.size() == 1) return files.front();
  std::set<std::string> models;
  for (const std::string& file : files) models.insert(FirstGgufPart(file));
  return models.size() == 1 ? *models.begin() : path;
}

namespace {

ModelFiles LoadAnyKind(const std::string& given, const LoadModelFilesOptions& options) {
  const std::string path = ModelAt(given);
  const auto status = std::filesystem::status(path);
  if (!std::filesystem::exists(status))
    throw Error(ErrorCode::kNotFound,
                path + ": no such file or folder, want a Hugging Face folder or a .gguf file");
  if (std::filesystem::is_directory(status)) {
    if (!options.mmproj.empty())
      throw Error(ErrorCode::kInvalidArgument, options.mmproj +
                                                   ": a vision file goes with a .gguf model only, and " +
                                                   path + " is a Hugging Face folder, which has its own");
    return LoadHfFolder(path, options);
  }
  const auto extension = std::filesystem::path(path).extension();
  if (extension == ".safetensors" || extension == ".json")
    throw Error(ErrorCode::kInvalidArgument,
                path + ": is one file of a Hugging Face model, name its folder instead");
  return LoadGgufModel(path, options);
}

}  // namespace

ModelFiles LoadModelFiles(const std::string& path, const LoadModelFilesOptions& options) {
  try {
    return LoadAnyKind(path, options);
  } catch (const std::filesystem::filesystem_error& e) {
    throw Error(ErrorCode::kNotFound, e.path1().string() + ": cannot be read: " + e.code().message());
  }
}

void ListTensors(const TensorTable& table, ModelFiles& files) {
  for (const FileTensor& t : table.tensors()) {
    if (t.format) {
      files.tensors.push_back({t.name, t.file, *t.format, t.shape, t.bytes});
    } else {
      files.warnings.push_back(t.file + ": tensor " + Quoted(t.name) + " of type " + Quoted(t.type) +
                               " is not listed");
    }
  }
}

void WarnUnused(const TensorTable& table, ModelFiles& files) {
  const std::vector<std::string> names = table.Unused();
  if (names.empty()) return;
  files.warnings.push_back(std::to_string(names.size()) + " tensors are not used, the first is " +
                           Quoted(names[0]));
}

bool FitsMemory(size_t total_bytes) {
  const size_t available = hw::ProbeCpu().memory_available_bytes;
  return available > 0 && total_bytes <= available;
}

}  // namespace qwen3vl
