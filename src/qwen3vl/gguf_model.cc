// SPDX-License-Identifier: Apache-2.0
// A model out of GGUF files: the text model with all its parts, and the vision file if there is one.
#include "qwen3vl/bind_weights.h"
#include "qwen3vl/error.h"
#include "qwen3vl/gguf.h"
#include "qwen3vl/gguf_config.h"
#include "qwen3vl/mmproj_search.h"
#include "qwen3vl/model_files.h"

namespace qwen3vl {
namespace {

void AddFile(const GgufFile& file, TensorTable& table, ModelFiles& files) {
  for (const FileTensor& t : file.tensors()) table.Add(t.name, t);
  files.owners.push_back(file.mapping());
  if (file.trailing_bytes() > 0)
    files.warnings.push_back(file.path() + ": " + std::to_string(file.trailing_bytes()) +
                             " bytes after the last tensor belong to nothing");
}

// Adds the vision file that was named or found, and returns its path; none is no error.
std::string AddVision(const GgufFile& text, const LoadModelFilesOptions& options, TensorTable& table,
                      ModelFiles& files) {
  if (options.text_only) return "";
  const std::string path = options.mmproj.empty() ? FindMmproj(text, files.warnings) : options.mmproj;
  if (path.empty()) return path;
  const GgufFile mmproj = GgufFile::Open(path);
  ReadGgufVisionConfig(mmproj, files.config, files.warnings);
  const size_t n_deepstack = files.config.vision->deepstack_layers.size();
  const size_t declared = DeclaredDeepstack(text).value_or(n_deepstack);
  if (declared != n_deepstack)
    throw Error(ErrorCode::kCorruptFile, path + ": has " + std::to_string(n_deepstack) +
                                             " deepstack layers, want " + std::to_string(declared) + " as " +
                                             text.path() + " says: do both belong to the same model?");
  CheckConfig(files.config, path);
  AddFile(mmproj, table, files);
  return path;
}

}  // namespace

ModelFiles LoadGgufModel(const std::string& path, const LoadModelFilesOptions& options) {
  const std::vector<GgufFile> parts = OpenGgufParts(path);
  const GgufFile& text = parts[0];
  TensorTable table;
  ModelFiles files;
  for (const GgufFile& part : parts) AddFile(part, table, files);
  LoadProgress no_progress({}, 0, /*read_ahead=*/false);
  files.config = ReadGgufTextConfig(text);
  const BindSource header{table, Naming::kGguf, path, no_progress, files.owners};
  files.config.text.vocab_size = RequireTensor(header, "token_embd.weight").shape[0];
  files.tokenizer = ReadGgufTokenizer(text, files.warnings);
  FindSpecialIds(text, files.tokenizer, files.config);
  CheckConfig(files.config, path);
  const std::string mmproj = AddVision(text, options, table, files);
  files.config.text.tied_embeddings = !HasOwnOutput(table, Naming::kGguf);
  ListTensors(table, files);
  if (options.header_only) return files;
  LoadProgress progress(options.progress, table.bytes(), options.progress && FitsMemory(table.bytes()));
  const BindSource source{table, Naming::kGguf, path, progress, files.owners};
  BindText(source, files.config.text, files.text);
  const BindSource vision{table, Naming::kGguf, mmproj, progress, files.owners};
  if (files.config.vision) BindVision(vision, *files.config.vision, files.vision);
  WarnUnused(table, files);
  return files;
}

}  // namespace qwen3vl
