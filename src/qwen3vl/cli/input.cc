// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/cli/input.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>

#include "qwen3vl/cli/failure.h"
#include "qwen3vl/cli/interrupt.h"
#include "qwen3vl/cli/text_format.h"
#include "qwen3vl/json_view.h"

namespace qwen3vl::cli {
namespace {

// A stream may have no end.
constexpr size_t kMaxBytes = size_t{1} << 30;

[[noreturn]] void RefuseFile(const std::string& path, const std::string& why) {
  throw Failure(kBadFile, path + ": " + why);
}

std::string ErrnoText() { return std::generic_category().message(errno); }

int32_t ToId(const Json& value, const std::string& where) {
  if (!value.is_number_integer() || value < std::numeric_limits<int32_t>::min() ||
      value > std::numeric_limits<int32_t>::max())
    RefuseFile(where, (value.is_structured() ? value.type_name() : value.dump().substr(0, 40)) +
                          ", want token ids: whole numbers");
  return value.get<int32_t>();
}

}  // namespace

std::string ReadText(const std::string& path) {
  const bool standard = path == "-";
  std::error_code problem;  // shows again when the file is opened
  if (!standard && std::filesystem::is_directory(path, problem)) RefuseFile(path, "is a folder, want a file");
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  const std::unique_ptr<std::FILE, Close> owned(standard ? nullptr : std::fopen(path.c_str(), "rbe"));
  std::FILE* file = standard ? stdin : owned.get();
  if (!file) RefuseFile(path, ErrnoText());
  std::string text;
  char block[1 << 16];
  const std::string name = standard ? "standard input" : path;
  while (const size_t n = std::fread(block, 1, sizeof block, file)) {
    text.append(block, n);
    if (text.size() > kMaxBytes) RefuseFile(name, "more than 1 GiB, want less");
  }
  const std::string why = ErrnoText();
  CheckInterrupted();
  if (std::ferror(file)) RefuseFile(name, "cannot be read: " + why);
  return text;
}

std::string TextArgument(const std::string& text) {
  if (text != "-") return text;
  std::string read = ReadText("-");
  if (read.ends_with('\n')) read.pop_back();
  if (read.ends_with('\r')) read.pop_back();
  return read;
}

Json ParseJson(const std::string& text, const std::string& where) {
  try {
    CheckJson(text, where);
  } catch (const Error& e) {
    throw Failure(kBadFile, e.what());
  }
  return Json::parse(text);
}

void DropByteOrderMark(std::string& text) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (text.starts_with(kMark)) text.erase(0, kMark.size());
}

std::vector<int32_t> ParseIds(std::string text, const std::string& where) {
  DropByteOrderMark(text);
  std::vector<int32_t> ids;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (text[first] == '[' || text[first] == '{')) {
    const Json parsed = ParseJson(text, where);
    const Json& list = parsed.is_object() && parsed.contains("ids") ? parsed["ids"] : parsed;
    if (!list.is_array()) RefuseFile(where, "want an array of token ids");
    for (const Json& value : list) ids.push_back(ToId(value, where));
    return ids;
  }
  constexpr const char* kSeparators = " ,\t\r\n";
  for (size_t at = first; at < text.size(); at = text.find_first_not_of(kSeparators, at)) {
    const size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    int32_t id = 0;
    const auto [stopped, problem] = std::from_chars(text.data() + at, text.data() + end, id);
    if (problem != std::errc() || stopped != text.data() + end)
      RefuseFile(where, "'" + OneLine(text.substr(at, std::min<size_t>(end - at, 40))) +
                            "', want token ids: whole numbers");
    ids.push_back(id);
    at = end;
  }
  return ids;
}

LineReader::Result LineReader::Next(std::string& line) {
  for (;;) {
    const size_t end = buffer_.find('\n', searched_);
    if (end != std::string::npos || (ended_ && !buffer_.empty())) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      searched_ = 0;
      if (line.ends_with('\r')) line.pop_back();
      return Result::kLine;
    }
    searched_ = buffer_.size();
    if (searched_ > kMaxBytes) RefuseFile("standard input", "a line of more than 1 GiB, want less");
    const bool ready = ended_ || WaitForInput();
    if (Interrupted()) return Result::kInterrupted;  // it came before the end of input did
    if (ended_) return Result::kEnd;
    if (!ready) continue;
    char block[4096];
    const ssize_t n = read(STDIN_FILENO, block, sizeof block);
    if (n > 0) {
      buffer_.append(block, static_cast<size_t>(n));
    } else if (n == 0) {
      ended_ = true;
    } else if (errno != EINTR && errno != EAGAIN) {
      RefuseFile("standard input", "cannot be read: " + ErrnoText());
    }
  }
}

}  // namespace qwen3vl::cli
