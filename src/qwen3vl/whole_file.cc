// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/whole_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "qwen3vl/error.h"

namespace qwen3vl {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void CannotWrite(const std::string& path, const std::string& why) {
  throw Error(ErrorCode::kNotFound, path + ": cannot be written: " + why);
}

std::string Text(int error) { return std::generic_category().message(error); }

// Pipes and devices are written to and never replaced.
bool IsSpecial(const std::string& target) {
  std::error_code problem;
  const fs::file_status status = fs::status(target, problem);
  return fs::exists(status) && !fs::is_regular_file(status);
}

// 0, or the error.
int WriteAll(std::FILE* file, std::string_view bytes) {
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const int error = errno;
  if (std::fclose(file) != 0) return errno;
  return written ? 0 : error;
}

}  // namespace

std::string FollowLinks(const std::string& path) {
  constexpr size_t kMaxLinks = 40;
  fs::path target = path;
  std::error_code problem;
  for (size_t i = 0; fs::is_symlink(target, problem); ++i) {
    if (i == kMaxLinks) CannotWrite(path, "too many links");
    target = target.parent_path() / fs::read_symlink(target, problem);
    if (problem) CannotWrite(path, problem.message());
  }
  return target.string();
}

std::string DraftOf(const std::string& target) { return target + ".part." + std::to_string(getpid()); }

void CheckCanWrite(const std::string& path) {
  const std::string target = FollowLinks(path);
  std::error_code problem;
  if (fs::is_directory(target, problem)) CannotWrite(path, "is a folder, want the name of a file");
  if (fs::exists(target, problem) && access(target.c_str(), W_OK) != 0) CannotWrite(path, Text(errno));
  if (IsSpecial(target)) return;
  const std::string draft = DraftOf(target);
  std::FILE* file = std::fopen(draft.c_str(), "wbe");
  if (!file) CannotWrite(path, Text(errno));
  std::fclose(file);
  std::remove(draft.c_str());
}

void WriteWholeFile(const std::string& path, std::string_view bytes) {
  const std::string target = FollowLinks(path);
  const bool special = IsSpecial(target);
  const std::string draft = special ? target : DraftOf(target);
  std::FILE* file = std::fopen(draft.c_str(), "wbe");
  if (!file) CannotWrite(path, Text(errno));
  const int error = WriteAll(file, bytes);
  if (error == 0 && (special || std::rename(draft.c_str(), target.c_str()) == 0)) return;
  const std::string why = Text(error ? error : errno);
  if (!special) std::remove(draft.c_str());
  if (error == 0) CannotWrite(path, why);
  throw Error(ErrorCode::kOutOfMemory, path + ": writing failed: " + why);
}

}  // namespace qwen3vl
