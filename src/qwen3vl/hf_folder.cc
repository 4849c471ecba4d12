// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder: which safetensors files make up the model, their tensors under one set of names,
// and the whole load.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "qwen3vl/bind_weights.h"
#include "qwen3vl/error.h"
#include "qwen3vl/hf_config.h"
#include "qwen3vl/json_view.h"
#include "qwen3vl/list_folder.h"
#include "qwen3vl/mmproj_search.h"
#include "qwen3vl/model_files.h"
#include "qwen3vl/safetensors.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

// Older and foreign files lack the inner prefixes.
std::string PublishedName(const std::string& name) {
  static constexpr std::pair<std::string_view, std::string_view> kOld[] = {
      {"language_model.lm_head.", "lm_head."},
      {"language_model.model.", "model.language_model."},
      {"language_model.", "model.language_model."},
      {"visual.", "model.visual."},
      {"model.layers.", "model.language_model.layers."},
      {"model.embed_tokens.", "model.language_model.embed_tokens."},
      {"model.norm.", "model.language_model.norm."},
  };
  for (const auto& [old_prefix, prefix] : kOld)
    if (name.starts_with(old_prefix)) return std::string(prefix) + name.substr(old_prefix.size());
  return name;
}

// Names of the files, and for each the tensors that the index says are in it.
using WeightMap = std::map<std::string, std::vector<std::string>>;

WeightMap ReadIndex(const std::string& path) {
  const nlohmann::json document = ReadJsonFile(path);
  const JsonView map = JsonView(document, path).At("weight_map");
  if (!map.is_object()) map.Fail("an object of file names");
  WeightMap files;
  for (const auto& item : map.json().items()) {
    const JsonView file = map.At(item.key());
    const std::string name = file.String();
    if (name.empty() || name.find_first_of("/\\") != std::string::npos)
      file.Fail("a file name without folders");
    files[name].push_back(item.key());
  }
  if (files.empty()) map.Fail("at least one tensor");
  return files;
}

[[noreturn]] void NoWeights(const std::string& folder) {
  if (const std::vector<std::string> files = TextGgufs(folder); !files.empty())
    throw Error(ErrorCode::kNotFound,
                folder + ": holds no .safetensors file; for GGUF name the file, like " + files.front());
  for (const auto& entry : ListFolder(folder, "a folder with a model")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".bin"))
      throw Error(ErrorCode::kNotFound,
                  folder + ": holds " + name + " but no .safetensors file: fetch the safetensors form");
  }
  throw Error(ErrorCode::kNotFound,
              folder + ": no model.safetensors or *.safetensors file: fetch the weights");
}

WeightMap FindWeightFiles(const std::string& folder) {
  const std::string index = "model.safetensors.index.json";
  if (fs::exists(folder + "/model.safetensors")) return {{"model.safetensors", {}}};
  if (fs::exists(folder + "/" + index)) return ReadIndex(folder + "/" + index);
  WeightMap files;
  for (const auto& entry : ListFolder(folder, "a folder with a model"))
    if (entry.path().extension() == ".safetensors") files[entry.path().filename().string()] = {};
  if (files.empty()) NoWeights(folder);
  return files;
}

void OpenWeights(const std::string& folder, TensorTable& table, ModelFiles& files) {
  for (const auto& [name, tensor_names] : FindWeightFiles(folder)) {
    const SafetensorsFile file = SafetensorsFile::Open(folder + "/" + name);
    for (const std::string& tensor : tensor_names)
      if (!file.Find(tensor))
        throw Error(ErrorCode::kCorruptFile,
                    folder + "/" + name + ": tensor " + Quoted(tensor) +
                        " is missing, which model.safetensors.index.json puts there");
    for (const FileTensor& t : file.tensors()) table.Add(PublishedName(t.name), t);
    files.owners.push_back(file.mapping());
  }
}

// A folder of weights without a config, or the parent of one with it, is a frequent slip.
void RequireConfig(const std::string& folder) {
  if (fs::exists(folder + "/config.json")) return;
  if (!TextGgufs(folder).empty()) NoWeights(folder);
  throw Error(ErrorCode::kNotFound, folder + ": no config.json: is this the folder of a Hugging Face model?");
}

}  // namespace

ModelFiles LoadHfFolder(const std::string& folder, const LoadModelFilesOptions& options) {
  RequireConfig(folder);
  HfConfig read = ReadHfConfig(folder);
  CheckConfig(read.config, folder + "/config.json");
  ModelFiles files;
  files.config = std::move(read.config);
  files.warnings = std::move(read.warnings);
  files.tokenizer = ReadHfTokenizerSource(folder);
  TensorTable table;
  OpenWeights(folder, table, files);
  const bool own_output = HasOwnOutput(table, Naming::kHuggingFace);
  if (!own_output && read.says_untied)
    throw Error(ErrorCode::kNotFound, folder +
                                          ": tensor \"lm_head.weight\" is missing, and config.json says "
                                          "tie_word_embeddings is false: fetch the missing file");
  files.config.text.tied_embeddings = !own_output;
  ListTensors(table, files);
  if (options.header_only) return files;
  LoadProgress progress(options.progress, table.bytes(), options.progress && FitsMemory(table.bytes()));
  const BindSource source{table, Naming::kHuggingFace, folder, progress, files.owners};
  BindText(source, files.config.text, files.text);
  if (files.config.vision) BindVision(source, *files.config.vision, files.vision);
  WarnUnused(table, files);
  return files;
}

}  // namespace qwen3vl
