// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/json_view.h"

#include <cmath>
#include <limits>
#include <set>

#include "hw/mapped_file.h"
#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"

namespace qwen3vl {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxFileBytes = size_t{64} << 20;

// Watches the parser for what the parsed value no longer shows.
class StrictWatch {
 public:
  explicit StrictWatch(const std::string& file) : file_(file) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth)
      throw Error(ErrorCode::kCorruptFile,
                  file_ + ": JSON nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && !keys_.back().insert(parsed.get<std::string>()).second)
      throw Error(ErrorCode::kCorruptFile, file_ + ": key " + Quoted(parsed.get<std::string>()) +
                                               " occurs twice in one object, want it once");
    return true;
  }

 private:
  const std::string& file_;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace

nlohmann::json ParseJson(std::string_view text, const std::string& file) {
  StrictWatch watch(file);
  try {
    return nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t event,
                                           nlohmann::json& parsed) { return watch(depth, event, parsed); });
  } catch (const nlohmann::json::parse_error& e) {
    throw Error(ErrorCode::kCorruptFile,
                file + ": not valid JSON at byte " + std::to_string(e.byte) + ": fetch or write it again");
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::kCorruptFile, file + ": JSON holds a number out of range");
  }
}

nlohmann::json ReadJsonFile(const std::string& path) {
  const hw::MappedFile file = hw::MappedFile::Open(path);
  if (file.size() > kMaxFileBytes)
    throw Error(ErrorCode::kCorruptFile, path + ": " + std::to_string(file.size()) +
                                             " bytes, want at most 64 MiB: is this the right file?");
  RejectLfsPointer(file.data(), file.size(), path);
  return ParseJson({reinterpret_cast<const char*>(file.data()), file.size()}, path);
}

std::string JsonView::Where() const { return key_.empty() ? file_ : file_ + ": " + key_; }

void JsonView::Fail(const std::string& wanted) const {
  std::string found = value_->is_object()  ? "an object"
                      : value_->is_array() ? "an array"
                                           : value_->dump(-1, ' ', /*ensure_ascii=*/true);
  if (found.size() > 60) found = found.substr(0, 60) + "...";
  throw Error(ErrorCode::kCorruptFile, Where() + ": found " + found + ", want " + wanted);
}

std::optional<JsonView> JsonView::Find(const std::string& key) const {
  if (!value_->is_object()) Fail("an object");
  const auto it = value_->find(key);
  if (it == value_->end() || it->is_null()) return std::nullopt;
  return JsonView(*it, file_, key_.empty() ? key : key_ + "." + key);
}

JsonView JsonView::At(const std::string& key) const {
  if (auto found = Find(key)) return *std::move(found);
  throw Error(ErrorCode::kCorruptFile, Where() + ": key " + Quoted(key) + " is missing");
}

size_t JsonView::Size() const {
  if (value_->is_number_unsigned()) return value_->get<uint64_t>();
  Fail("a whole number, not negative");
}

int32_t JsonView::Id() const {
  if (value_->is_number_unsigned() && value_->get<uint64_t>() <= std::numeric_limits<int32_t>::max())
    return static_cast<int32_t>(value_->get<uint64_t>());
  Fail("a token id");
}

double JsonView::Number() const {
  if (value_->is_number() && std::isfinite(value_->get<double>())) return value_->get<double>();
  Fail("a number");
}

bool JsonView::Bool() const {
  if (value_->is_boolean()) return value_->get<bool>();
  Fail("true or false");
}

std::string JsonView::String() const {
  if (value_->is_string()) return value_->get<std::string>();
  Fail("a string");
}

std::vector<JsonView> JsonView::Items() const {
  if (!value_->is_array()) Fail("an array");
  std::vector<JsonView> items;
  for (size_t i = 0; i < value_->size(); ++i)
    items.push_back(JsonView((*value_)[i], file_, key_ + "[" + std::to_string(i) + "]"));
  return items;
}

std::vector<size_t> JsonView::Sizes() const {
  std::vector<size_t> sizes;
  for (const JsonView& item : Items()) sizes.push_back(item.Size());
  return sizes;
}

}  // namespace qwen3vl
