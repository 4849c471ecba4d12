// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/json_view.h"

#include <cmath>
#include <limits>
#include <set>

#include "qwen3vl/error.h"
#include "qwen3vl/file_tensor.h"

namespace qwen3vl {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxFileBytes = size_t{64} << 20;

// Goes through a text and refuses it where it is broken, or where the parsed value would not show what is
// wrong with it or could not be walked.
class StructureCheck : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit StructureCheck(const std::string& file) : file_(file) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

  bool start_object(size_t) override { return Enter(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second)
      Fail("key " + Quoted(key) + " occurs twice in one object, want it once");
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& e) override {
    if (dynamic_cast<const nlohmann::json::parse_error*>(&e) == nullptr)
      Fail("JSON holds a number out of range");
    Fail("not valid JSON at byte " + std::to_string(position) + ": fetch or write it again");
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(ErrorCode::kCorruptFile, file_ + ": " + what);
  }
  bool Enter() {
    if (keys_.size() == kMaxDepth) Fail("JSON nested deeper than " + std::to_string(kMaxDepth) + " levels");
    keys_.emplace_back();
    return true;
  }
  bool Leave() {
    keys_.pop_back();
    return true;
  }

  const std::string& file_;
  std::vector<std::set<std::string>> keys_;  // of the objects and arrays that are open
};

}  // namespace

void CheckJson(std::string_view text, const std::string& file) {
  StructureCheck check(file);
  nlohmann::json::sax_parse(text, &check);
}

nlohmann::json ParseJson(std::string_view text, const std::string& file) {
  CheckJson(text, file);
  return nlohmann::json::parse(text);
}

hw::MappedFile OpenTextFile(const std::string& path) {
  hw::MappedFile file = hw::MappedFile::Open(path);
  if (file.size() > kMaxFileBytes)
    throw Error(ErrorCode::kCorruptFile, path + ": " + std::to_string(file.size()) +
                                             " bytes, want at most 64 MiB: is this the right file?");
  RejectLfsPointer(file.data(), file.size(), path);
  return file;
}

nlohmann::json ReadJsonFile(const std::string& path) {
  const hw::MappedFile file = OpenTextFile(path);
  return ParseJson({reinterpret_cast<const char*>(file.data()), file.size()}, path);
}

std::string Brief(const nlohmann::json& value) {
  constexpr size_t kMaxBytes = 60;
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true);
  return text.size() <= kMaxBytes ? text : text.substr(0, kMaxBytes) + "...";
}

std::string JsonView::Where() const { return key_.empty() ? file_ : file_ + ": " + key_; }

void JsonView::Fail(const std::string& wanted) const {
  throw Error(ErrorCode::kCorruptFile, Where() + ": found " + Brief(*value_) + ", want " + wanted);
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

std::vector<JsonView> JsonView::Items(size_t most) const {
  if (!value_->is_array()) Fail("an array");
  if (value_->size() > most)
    throw Error(ErrorCode::kCorruptFile, Where() + ": found an array of " + std::to_string(value_->size()) +
                                             ", want at most " + std::to_string(most));
  std::vector<JsonView> items;
  for (size_t i = 0; i < value_->size(); ++i)
    items.push_back(JsonView((*value_)[i], file_, key_ + "[" + std::to_string(i) + "]"));
  return items;
}

std::vector<size_t> JsonView::Sizes(size_t most) const {
  std::vector<size_t> sizes;
  for (const JsonView& item : Items(most)) sizes.push_back(item.Size());
  return sizes;
}

}  // namespace qwen3vl
