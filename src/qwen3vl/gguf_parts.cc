// SPDX-License-Identifier: Apache-2.0
// Split GGUF models: NAME-00001-of-00003.gguf and so on, each a complete GGUF file.
#include <cstdio>

#include "qwen3vl/error.h"
#include "qwen3vl/gguf.h"

namespace qwen3vl {
namespace {

constexpr size_t kDigits = 5;

struct PartName {
  std::string stem;  // with folder
  size_t count = 0;

  std::string Path(size_t part) const {
    char suffix[64];
    std::snprintf(suffix, sizeof suffix, "-%05zu-of-%05zu.gguf", part + 1, count);
    return stem + suffix;
  }
};

// The number in `digits`, or nothing.
std::optional<size_t> FiveDigits(std::string_view digits) {
  size_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = 10 * value + static_cast<size_t>(c - '0');
  }
  return value;
}

std::optional<PartName> ParsePartName(const std::string& path) {
  constexpr std::string_view kOf = "-of-", kEnd = ".gguf";
  constexpr size_t kSuffix = 1 + kDigits + kOf.size() + kDigits + kEnd.size();
  if (path.size() <= kSuffix || !path.ends_with(kEnd)) return std::nullopt;
  const std::string_view suffix = std::string_view(path).substr(path.size() - kSuffix);
  if (suffix[0] != '-' || suffix.substr(1 + kDigits, kOf.size()) != kOf) return std::nullopt;
  const auto part = FiveDigits(suffix.substr(1, kDigits));
  const auto count = FiveDigits(suffix.substr(1 + kDigits + kOf.size(), kDigits));
  if (!part || !count || *part < 1 || *part > *count) return std::nullopt;
  return PartName{path.substr(0, path.size() - kSuffix), *count};
}

void RequireValue(const GgufFile& file, const std::string& key, size_t wanted) {
  if (const size_t found = file.Size(key); found != wanted)
    throw Error(ErrorCode::kCorruptFile, file.path() + ": " + key + " is " + std::to_string(found) +
                                             ", want " + std::to_string(wanted) +
                                             " by its name: was the file renamed?");
}

void CheckTensorCount(const std::vector<GgufFile>& parts) {
  size_t n_tensors = 0;
  for (const GgufFile& part : parts) n_tensors += part.tensors().size();
  const std::string key = "split.tensors.count";
  if (!parts[0].Has(key) || parts[0].Size(key) == n_tensors) return;
  throw Error(ErrorCode::kCorruptFile, parts[0].path() + ": " + key + " is " +
                                           std::to_string(parts[0].Size(key)) + ", the parts hold " +
                                           std::to_string(n_tensors) + ": fetch them again");
}

}  // namespace

std::string FirstGgufPart(const std::string& path) {
  const auto name = ParsePartName(path);
  return name ? name->Path(0) : path;
}

std::vector<GgufFile> OpenGgufParts(const std::string& path) {
  std::vector<GgufFile> parts;
  parts.push_back(GgufFile::Open(path));
  const size_t count = parts[0].Has("split.count") ? parts[0].Size("split.count") : 1;
  if (count <= 1) return parts;
  const auto name = ParsePartName(path);
  if (!name)
    throw Error(ErrorCode::kCorruptFile,
                path + ": is one of " + std::to_string(count) +
                    " parts, want a name like NAME-00001-of-00002.gguf to find the others");
  parts.clear();
  for (size_t i = 0; i < name->count; ++i) {
    parts.push_back(GgufFile::Open(name->Path(i)));
    RequireValue(parts.back(), "split.count", name->count);
    RequireValue(parts.back(), "split.no", i);
  }
  CheckTensorCount(parts);
  return parts;
}

}  // namespace qwen3vl
