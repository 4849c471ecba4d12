// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "qwen3vl/hf_config.h"
#include "qwen3vl/json_view.h"

namespace qwen3vl {
namespace {

// A template, or a list of named ones, of which "default" counts.
std::string TemplateOf(const JsonView& object) {
  const auto value = object.Find("chat_template");
  if (!value) return "";
  if (!value->is_array()) return value->String();
  for (const JsonView& entry : value->Items())
    if (entry.At("name").String() == "default") return entry.At("template").String();
  return "";
}

std::string ReadTemplate(const std::string& folder) {
  const std::string jinja = folder + "/chat_template.jinja";
  if (std::filesystem::exists(jinja)) {
    const hw::MappedFile file = OpenTextFile(jinja);
    return {reinterpret_cast<const char*>(file.data()), file.size()};
  }
  for (const char* name : {"/chat_template.json", "/tokenizer_config.json"}) {
    const std::string path = folder + name;
    if (!std::filesystem::exists(path)) continue;
    const nlohmann::json json = ReadJsonFile(path);
    if (std::string text = TemplateOf(JsonView(json, path)); !text.empty()) return text;
  }
  return "";
}

}  // namespace

TokenizerSource ReadHfTokenizerSource(const std::string& folder) {
  const auto has = [&](const char* name) { return std::filesystem::exists(folder + name); };
  TokenizerSource source;
  if (has("/tokenizer.json") || (has("/vocab.json") && has("/merges.txt"))) source.folder = folder;
  source.chat_template = ReadTemplate(folder);
  return source;
}

}  // namespace qwen3vl
