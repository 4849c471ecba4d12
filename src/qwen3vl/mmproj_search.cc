// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/mmproj_search.h"

#include <algorithm>
#include <filesystem>

#include "qwen3vl/error.h"
#include "qwen3vl/gguf_config.h"
#include "qwen3vl/list_folder.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

// "mmproj-Qwen3VL-8B-F16" to {"qwen3vl", "8b", "f16"}.
Words WordsOf(const std::string& stem) {
  Words words(1);
  for (const char c : stem) {
    if (c == '-' || c == '_' || c == '.' || c == ' ') {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  std::erase_if(words, [](const std::string& w) { return w.empty() || w == "mmproj"; });
  return words;
}

bool NamesType(const std::string& word) {
  return word == "f16" || word == "bf16" || word == "f32" || word.size() == 1 ||
         (word.size() == 2 && word[0] == 'q');
}

struct Candidate {
  std::string path;
  Words base;         // words without those at the end that name the number type
  size_t common = 0;  // leading words shared with the text model
  int type_rank = 0;  // lower is better
};

int TypeRank(const GgufFile& file) {
  const FileTensor* t = file.Find("v.blk.0.attn_qkv.weight");
  if (!t || !t->format) return 4;
  switch (*t->format) {
    case hw::Format::kF16:
      return 0;
    case hw::Format::kBF16:
      return 1;
    case hw::Format::kF32:
      return 2;
    default:
      return 3;
  }
}

// Vision files carry mmproj in their names.
std::vector<std::string> GgufsIn(const std::string& folder, bool vision) {
  std::vector<std::string> found;
  for (const auto& entry : ListFolder(folder, "a folder with a model")) {
    std::string name = entry.path().filename().string();
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if ((name.find("mmproj") != std::string::npos) == vision && name.ends_with(".gguf"))
      found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Candidate MakeCandidate(const fs::path& path, const GgufFile& file, const Words& text_words) {
  Candidate c{path.string(), WordsOf(path.stem().string()), 0, TypeRank(file)};
  while (!c.base.empty() && NamesType(c.base.back())) c.base.pop_back();
  const size_t n = std::min(c.base.size(), text_words.size());
  while (c.common < n && c.base[c.common] == text_words[c.common]) ++c.common;
  return c;
}

}  // namespace

std::vector<std::string> TextGgufs(const std::string& folder) { return GgufsIn(folder, /*vision=*/false); }

std::string FindMmproj(const GgufFile& text, std::vector<std::string>& warnings) {
  const fs::path text_path(text.path());
  const Words text_words = WordsOf(text_path.stem().string());
  std::vector<Candidate> fitting;
  const fs::path folder = text_path.has_parent_path() ? text_path.parent_path() : fs::path(".");
  std::vector<std::string> found;
  try {
    found = GgufsIn(folder, /*vision=*/true);
  } catch (const Error& e) {  // a folder may let its files be opened and yet not be listed
    warnings.push_back(std::string("no vision file is looked for: ") + e.what());
  }
  for (const std::string& path : found) {
    try {
      const GgufFile file = GgufFile::Open(path);
      if (VisionFits(file, text)) fitting.push_back(MakeCandidate(path, file, text_words));
    } catch (const Error& e) {
      warnings.push_back(std::string("a vision file beside the model is left out: ") + e.what());
    }
  }
  if (fitting.empty()) return "";
  std::stable_sort(fitting.begin(), fitting.end(), [](const Candidate& a, const Candidate& b) {
    return a.common != b.common ? a.common > b.common : a.type_rank < b.type_rank;
  });
  const Candidate& best = fitting[0];
  for (const Candidate& other : fitting)
    if (other.common == best.common && other.base != best.base)
      throw Error(ErrorCode::kInvalidArgument, text.path() + ": both " + best.path + " and " + other.path +
                                                   " could be its vision file: name one with --mmproj");
  return best.path;
}

}  // namespace qwen3vl
