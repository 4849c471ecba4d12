// SPDX-License-Identifier: Apache-2.0
// JSON from files: parsed strictly, and read through a view that knows its file and key, so that every
// complaint says where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hw/mapped_file.h"

namespace qwen3vl {

// Throws Error(kCorruptFile) beginning with `file` for bad syntax or UTF-8, a key that occurs twice in one
// object, or nesting deeper than 64.
void CheckJson(std::string_view text, const std::string& file);
// What CheckJson lets through, parsed.
nlohmann::json ParseJson(std::string_view text, const std::string& file);

// A file that is read as a whole. Throws Error: kNotFound when it cannot be opened, kCorruptFile when it is a
// Git LFS pointer or has more than 64 MiB, of which what is made of it would be many times as much.
hw::MappedFile OpenTextFile(const std::string& path);
// The parsed file. Throws as both above.
nlohmann::json ReadJsonFile(const std::string& path);

// A value as a message may quote it: one line of at most 60 bytes.
std::string Brief(const nlohmann::json& value);

// A value inside a document that outlives the view. A null value counts as missing. The typed readers throw
// Error(kCorruptFile): `config.json: text_config.hidden_size: found "wide", want a whole number`.
class JsonView {
 public:
  static constexpr size_t kMaxItems = 4096;  // no list of a config or a user's tuning comes near

  JsonView(const nlohmann::json& value, std::string file) : JsonView(value, std::move(file), "") {}

  std::optional<JsonView> Find(const std::string& key) const;  // the view itself must be an object
  JsonView At(const std::string& key) const;                   // throws when missing
  bool Has(const std::string& key) const { return Find(key).has_value(); }

  bool is_object() const { return value_->is_object(); }
  bool is_array() const { return value_->is_array(); }
  bool is_string() const { return value_->is_string(); }

  size_t Size() const;    // whole, not negative
  int32_t Id() const;     // token id: whole, not negative, fits 31 bits
  double Number() const;  // finite
  bool Bool() const;
  std::string String() const;
  // Of an array of at most `most`: a view takes a hundred times the bytes that its value has in the file.
  std::vector<JsonView> Items(size_t most = kMaxItems) const;
  std::vector<size_t> Sizes(size_t most = kMaxItems) const;

  const nlohmann::json& json() const { return *value_; }
  std::string Where() const;  // "config.json: text_config.hidden_size"
  [[noreturn]] void Fail(const std::string& wanted) const;

 private:
  JsonView(const nlohmann::json& value, std::string file, std::string key)
      : value_(&value), file_(std::move(file)), key_(std::move(key)) {}

  const nlohmann::json* value_;
  std::string file_;
  std::string key_;
};

}  // namespace qwen3vl
