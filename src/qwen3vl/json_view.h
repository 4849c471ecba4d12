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

namespace qwen3vl {

// Throws Error(kCorruptFile) beginning with `file` for bad syntax or UTF-8, a key that occurs twice in one
// object, or nesting deeper than 64.
void CheckJson(std::string_view text, const std::string& file);
// What CheckJson lets through, parsed.
nlohmann::json ParseJson(std::string_view text, const std::string& file);

// The parsed file. Throws Error as above, kNotFound when it cannot be opened, kCorruptFile over 64 MiB.
nlohmann::json ReadJsonFile(const std::string& path);

// A value as a message may quote it: one line of at most 60 bytes.
std::string Brief(const nlohmann::json& value);

// A value inside a document that outlives the view. A null value counts as missing. The typed readers throw
// Error(kCorruptFile): `config.json: text_config.hidden_size: found "wide", want a whole number`.
class JsonView {
 public:
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
  std::vector<JsonView> Items() const;  // of an array
  std::vector<size_t> Sizes() const;

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
